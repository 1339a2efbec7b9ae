"""Tables that PostgreSQL misjudges: vacuumed before their first rows were committed, or with rows in any order."""

import json
from collections.abc import Callable
from uuid import uuid4

from tests.sql.calls import Connect, Db, call, claim, create_many, let_time_come
from tests.sql.reads import TABLES, keep_statistics, rows_scanned


def keys_read(db: Db, act: Callable[[], object]) -> int:
    """How many entries of the indexes of jobs were read while it acted, and no row of any table otherwise."""
    read = """
        select sum(pg_stat_get_xact_tuples_returned(known.indexrelid))::integer as entries
        from pg_index as known
        where known.indrelid = 'aiserv.job'::regclass
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
    assert 1_000 <= claiming <= 3_000
    assert 1_000 <= settling <= 3_000


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


def test_old_jobs_are_pruned_one_by_one_by_a_plan_made_when_there_were_none(db: Db, connect: Connect) -> None:
    elsewhere = connect()
    keep_statistics(db)
    for table in TABLES:
        elsewhere.execute(f"vacuum analyze aiserv.{table}".encode())
    call(db, "sweep", retention="1 microsecond")
    create_many(elsewhere, [{}] * 4_000)
    call(elsewhere, "cancel_jobs", match_all=True)

    pruning = keys_read(db, lambda: call(db, "sweep", retention="1 microsecond"))

    # Each is found twice and deleted; their batch is looked for as long as one of its jobs is there.
    assert 1_000 <= pruning <= 12_000


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
