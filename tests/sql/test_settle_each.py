"""Many settlements in one statement, each for itself, each answered with its job."""

import json
from operator import itemgetter
from typing import Any
from uuid import uuid4

from psycopg.rows import DictRow

from tests.sql.calls import Connect, Db, call, claimed, create, get, refusal

FAILURE = {"category": "timeout", "message": "late"}


def settle_each(db: Db, *items: dict[str, Any], patience: str = "100 ms") -> list[DictRow]:
    return db.execute(
        """
        select each.id, each.status, (each.job -> 'result')::text as result, each.code, each.message, each.hint
        from aiserv.settle_each(%s, %s) as each
        """,
        [json.dumps(items, default=str), patience],
    ).fetchall()


def as_arguments(item: dict[str, Any]) -> dict[str, Any]:
    """The item as complete_job and fail_job take it."""
    given = {"job_id" if name == "id" else name: value for name, value in item.items()}
    return given | {"result": json.dumps(given["result"])} if "result" in given else given


def test_each_job_is_returned_as_it_is_shown_afterwards(db: Db) -> None:
    done, failed, later = claimed(db), claimed(db), claimed(db)
    items = [
        {"id": done["id"], "attempt": 1, "result": {"n": 1}, "usage": {"total_tokens": 3}},
        {"id": failed["id"], **FAILURE},
        {"id": later["id"], "worker_id": "worker-1", **FAILURE, "retryable": True, "retry_after": "1 h"},
    ]

    rows = db.execute("select each.* from aiserv.settle_each(%s) as each", [json.dumps(items, default=str)]).fetchall()
    shown = db.execute(
        """
        select
            job.id, aiserv.job_json(job) as job, aiserv.job_version(job) as version, job.status, job.attempt,
            job.task_type, job.model_profile, null as code, null as message, null as hint
        from aiserv.jobs as job
        """
    ).fetchall()

    assert sorted(rows, key=itemgetter("id")) == sorted(shown, key=itemgetter("id"))
    assert [(row["id"], row["status"]) for row in rows] == [
        (done["id"], "completed"),
        (failed["id"], "failed"),
        (later["id"], "pending"),
    ]


def test_a_refused_one_fails_alone_and_says_what_complete_job_and_fail_job_say(db: Db) -> None:
    job, other, waiting = claimed(db), claimed(db), create(db)
    late = {"attempt": 2, "result": 1}
    refused = [
        ("complete_job", {"id": uuid4(), "result": 1}),
        ("complete_job", {"id": job["id"], **late}),
        ("complete_job", {"id": job["id"], "worker_id": "worker-2", "result": 1}),
        ("complete_job", {"id": waiting["id"], "result": 1}),
        ("fail_job", {"id": waiting["id"], **FAILURE}),
        ("fail_job", {"id": waiting["id"], "attempt": 1, **FAILURE}),
    ]
    said = [refusal(db, verb, **as_arguments(item)) for verb, item in refused]

    *rows, good = settle_each(db, *(item for _, item in refused), {"id": other["id"], "result": 1})

    for row, error in zip(rows, said, strict=True):
        assert (row["code"], row["message"], row["hint"]) == (
            error.sqlstate,
            error.diag.message_primary,
            error.diag.message_hint,
        )
    assert [row["id"] for row in rows] == [item["id"] for _, item in refused]
    assert (good["code"], good["status"]) == (None, "completed")


def test_of_one_job_twice_the_first_counts_and_a_repeat_is_answered_with_the_job(db: Db) -> None:
    job = claimed(db)
    first, other = {"id": job["id"], "attempt": 1, "result": "first"}, {"id": job["id"], "attempt": 1, "result": 2}

    rows = settle_each(db, first, other, first, {"id": job["id"], **FAILURE})
    again = settle_each(db, other, first)

    assert [row["code"] for row in rows] == [None, "JL409", None, "JS409"]
    assert [row["code"] for row in again] == ["JL409", None]
    assert {row["result"] for row in [*rows, *again] if row["code"] is None} == {'"first"'}


def test_a_failure_twice_counts_once(db: Db) -> None:
    job = claimed(db)
    failing = {"id": job["id"], "attempt": 1, **FAILURE, "retryable": True}

    rows = settle_each(db, failing, failing)

    assert [row["status"] for row in rows] == ["pending", "pending"]
    assert get(db, job["id"])["failures"] == 1


def test_the_holder_is_heard_though_another_worker_names_the_same_job_before_it(db: Db) -> None:
    job = claimed(db)
    by_another, by_its_holder, by_anyone = (
        {"id": job["id"], "worker_id": "worker-0", "result": "no"},
        {"id": job["id"], "worker_id": "worker-1", "result": "yes"},
        {"id": job["id"], "result": "yes"},
    )

    rows = settle_each(db, by_another, by_its_holder, by_anyone)

    assert [row["code"] for row in rows] == ["JL409", None, None]


def test_a_job_that_another_transaction_holds_is_not_waited_for(db: Db, connect: Connect) -> None:
    holder, held, free = connect(), claimed(db), claimed(db)
    items = [{"id": job["id"], "attempt": 1, "result": 1} for job in (held, free)]

    with holder.transaction():
        call(holder, "heartbeat_job", job_id=held["id"])
        refused = refusal(db, "settle_each", settlements=json.dumps(items, default=str), patience="20 ms")
        alone = settle_each(db, items[1])

    assert refused.sqlstate == "55P03"
    assert db.execute("show lock_timeout").fetchall() == [{"lock_timeout": "0"}]
    assert [row["status"] for row in [*alone, *settle_each(db, *items)]] == ["completed"] * 3


def test_one_that_makes_no_sense_fails_alone_and_says_why(db: Db) -> None:
    job = claimed(db)

    good, bad = settle_each(db, {"id": job["id"], "result": 1}, {"result": 1})

    assert (good["code"], good["status"]) == (None, "completed")
    assert (bad["code"], bad["message"]) == ("JV400", "must be an object with id")
