"""Tables that PostgreSQL misjudges: vacuumed before their first rows were committed, or with rows in any order."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.sql.calls import Connect, Db, call, claim, create_many, let_time_come
from tests.sql.reads import TABLES, keep_statistics, rows_scanned
from tests.sql.trouble import let_pause_end, report


def keys_read(db: Db, act: Callable[[], object]) -> int:
    """How many entries of the indexes of all these tables were read while it acted, and no row of any otherwise."""
    read = f"""
        select sum(pg_stat_get_xact_tuples_returned(known.indexrelid))::integer as entries
        from pg_index as known
        where known.indrelid = any('{{aiserv.{",aiserv.".join(TABLES)}}}'::regclass[])
        """
    entries = 0

    def count() -> None:
        nonlocal entries
        (before,) = db.execute(read.encode()).fetchall()
        act()
        (after,) = db.execute(read.encode()).fetchall()
        entries = after["entries"] - before["entries"]

    assert rows_scanned(db, count) == {}
    return entries


def test_a_thousand_claimed_and_settled_jobs_are_found_one_by_one(db: Db, connect: Connect) -> None:
    elsewhere = connect()
    keep_statistics(db)
    with db.transaction():
        create_many(db, [{}] * 8_000)
        # As autovacuum may.
        for table in TABLES:
            elsewhere.execute(f"vacuum aiserv.{table}".encode())

    claiming = keys_read(db, lambda: claim(db, 1000))
    jobs = db.execute("select job_id as id, attempt, 1 as result from aiserv.lease").fetchall()
    settling = keys_read(db, lambda: call(db, "settle_jobs", settlements=json.dumps(jobs, default=str)))

    # Some are read twice. To read all there are for each, or once to compare each with all, would be 8,000 at least.
    assert 1_000 <= claiming <= 4_000
    assert 1_000 <= settling <= 4_000


def test_a_thousand_cancelled_jobs_are_found_one_by_one_by_a_plan_made_when_there_were_none(
    db: Db, connect: Connect
) -> None:
    elsewhere = connect()
    keep_statistics(db)
    for table in TABLES:
        elsewhere.execute(f"vacuum analyze aiserv.{table}".encode())
    call(db, "cancel_jobs", id=[uuid4()])
    create_many(elsewhere, [{}] * 8_000)
    waiting = db.execute("select job_id from aiserv.ready order by job_id limit 1000").fetchall()

    cancelling = keys_read(db, lambda: call(db, "cancel_jobs", id=[row["job_id"] for row in waiting]))

    # Each is found in two places, changed, listed and shown.
    assert 1_000 <= cancelling <= 7_000


def test_jobs_created_with_keys_are_found_one_by_one(db: Db, connect: Connect) -> None:
    elsewhere = connect()
    keep_statistics(db)
    with db.transaction():
        create_many(db, [{}] * 4_000)
        for table in TABLES:
            elsewhere.execute(f"vacuum aiserv.{table}".encode())
    job = {"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"}
    jobs = json.dumps([job | {"idempotency_key": f"key {number}"} for number in range(200)])

    creating = keys_read(db, lambda: call(db, "create_each", jobs=jobs))
    repeating = keys_read(db, lambda: call(db, "create_each", jobs=jobs))

    # New keys are written and nothing is read. To read all there are, once to compare each with all, would be 4,000.
    assert creating <= 200
    assert 200 <= repeating <= 1_000


def test_a_claim_at_a_rate_finds_the_jobs_that_it_spends_tokens_on_one_by_one(db: Db, connect: Connect) -> None:
    elsewhere = connect()
    keep_statistics(db)
    call(db, "set_queue", model_profile="qwen", tokens_per_minute=1_000_000)
    with db.transaction():
        create_many(db, [{}] * 2_000)
        for table in TABLES:
            elsewhere.execute(f"vacuum aiserv.{table}".encode())

    claiming = keys_read(db, lambda: claim(db, 10))

    # To read all there are for each would be 20,000.
    assert 10 <= claiming <= 1_000


def test_the_success_of_a_probe_among_others_reads_no_other_job(db: Db, connect: Connect) -> None:
    elsewhere = connect()
    keep_statistics(db)
    with db.transaction():
        create_many(db, [{}] * 2_000)
        for table in (*TABLES, "provider"):
            elsewhere.execute(f"vacuum analyze aiserv.{table}".encode())
    jobs = claim(db, 49)
    report(db)
    let_pause_end(db)
    jobs += claim(db, 2)
    results = json.dumps([{"id": str(job["id"]), "attempt": 1, "result": 1} for job in jobs])

    settling = keys_read(db, lambda: call(db, "settle_jobs", settlements=results))

    assert len(jobs) == 50
    assert db.execute("table aiserv.providers").fetchall() == []
    # To read all there are but once would be 2,000 more.
    assert 50 <= settling <= 1_000


FAILURE = {"category": "timeout", "message": "", "retryable": False}


def claim_all(db: Db) -> None:
    claim(db, 1000)


def fail_all(db: Db) -> None:
    claim_all(db)
    settle(db, 1000)


def settle(db: Db, most: int = 50) -> None:
    leases = db.execute("select job_id as id, attempt from aiserv.lease order by job_id limit %s", [most]).fetchall()
    call(db, "settle_each", settlements=json.dumps([row | FAILURE for row in leases], default=str))


def retry(db: Db) -> None:
    rows = db.execute("select job_id from aiserv.unsuccessful order by job_id limit 50").fetchall()
    call(db, "retry_jobs", id=[row["job_id"] for row in rows] or [uuid4()])


def cancel(db: Db) -> None:
    rows = db.execute("select job_id from aiserv.lease order by job_id limit 50").fetchall()
    call(db, "cancel_jobs", id=[row["job_id"] for row in rows] or [uuid4()])


def beat(db: Db) -> None:
    leases = db.execute("select job_id, attempt from aiserv.lease order by job_id limit 50").fetchall()
    call(
        db,
        "heartbeat_jobs",
        job_ids=[row["job_id"] for row in leases],
        attempts=[row["attempt"] for row in leases],
    )


def prune(db: Db) -> None:
    call(db, "prune_jobs", retention="1 microsecond", max_jobs=50)


def delete(db: Db) -> None:
    call(db, "delete_jobs", model_profile="qwen", max_jobs=50)


@pytest.mark.parametrize("planned", ["when there are none", "when there are many"])
@pytest.mark.parametrize(
    ("prepare", "act"),
    [
        (claim_all, settle),
        (claim_all, beat),
        (claim_all, cancel),
        (fail_all, retry),
        (fail_all, prune),
        (fail_all, delete),
    ],
)
def test_fifty_of_many_jobs_are_found_one_by_one_whenever_that_was_planned(
    db: Db, connect: Connect, prepare: Callable[[Db], None], act: Callable[[Db], None], planned: str
) -> None:
    elsewhere = connect()
    keep_statistics(db)

    def vacuum() -> None:
        for table in TABLES:
            elsewhere.execute(f"vacuum analyze aiserv.{table}".encode())

    if planned == "when there are none":
        vacuum()
        act(db)
    for batch in range(10):
        create_many(elsewhere, [{"idempotency_key": f"{batch} {n}"} for n in range(100)], batch_id=uuid4())
    prepare(elsewhere)
    if planned == "when there are many":
        vacuum()

    entries = keys_read(db, lambda: act(db))

    # Some are read a dozen times in all places together. To read all there are but once would be a thousand more.
    assert 50 <= entries <= 1_200


def test_jobs_that_come_back_are_found_one_by_one_though_no_row_lies_where_its_key_does(db: Db) -> None:
    keep_statistics(db)
    create_many(db, [{"owner_service": f"owner {number % 50}"} for number in range(4_000)])
    # As after many updates; by index, so many rows that lie apart are dear, and the first of all is cheap.
    db.execute("cluster aiserv.job using job_by_owner")
    for table in TABLES:
        db.execute(f"vacuum analyze aiserv.{table}".encode())
    failure = {"attempt": 1, "category": "timeout", "message": "", "retryable": True, "retry_after": "1 hour"}
    failures = json.dumps([failure | {"id": str(job["id"])} for job in claim(db, 10)])

    failing = keys_read(db, lambda: call(db, "settle_jobs", settlements=failures))
    for row in db.execute("select job_id from aiserv.scheduled").fetchall():
        let_time_come(db, row["job_id"])
    promoting = keys_read(db, lambda: claim(db, 10))

    # To read all there are for each, until one is in a wrong place, would be 40,000.
    assert 10 <= failing <= 1_000
    assert 10 <= promoting <= 1_000
