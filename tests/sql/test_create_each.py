"""Many creates in one statement, each for itself."""

import json
from typing import Any

from psycopg.rows import DictRow

from tests.sql.calls import (
    PATIENCE,
    Connect,
    Db,
    call,
    create,
    create_many,
    in_background,
    refusal,
    wait_until_blocked,
)

JOB = {"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"}


def create_each(db: Db, *jobs: Any, patience: str = "100 ms") -> list[DictRow]:  # noqa: ANN401 - JSON
    given = [{**JOB, **job} if isinstance(job, dict) else job for job in jobs]
    return db.execute(
        """
        select each.id, each.is_new, each.code, each.message, each.detail, each.hint
        from aiserv.create_each(%s, %s) as each
        """,
        [json.dumps(given), patience],
    ).fetchall()


def outcomes(rows: list[DictRow]) -> list[str]:
    return [row["code"] or ("new" if row["is_new"] else "known") for row in rows]


def test_each_job_is_returned_as_it_is_shown_later(db: Db) -> None:
    known = create(db, idempotency_key="known", input='{"b": 1.50}', metadata='{"m": 1}', priority=3)
    own = '"input": {"b": 1.50}, "metadata": {"m": 1}, "priority": 3'
    items = [
        f"{{{key} {own}, {json.dumps(JOB)[1:]}" for key in ("", '"delay": "1 hour",', '"idempotency_key": "known",')
    ]

    for jobs, last in ((items[:1], None), (items[:2], None), (items, known["id"])):
        rows = db.execute(
            "select each.id, each.job::text as job, each.version from aiserv.create_each(%s) as each",
            [f"[{','.join(jobs)}]"],
        ).fetchall()

        assert len(rows) == len(jobs)
        assert last in {None, rows[-1]["id"]}
        for row in rows:
            shown = (
                "select aiserv.job_json(job)::text as job, aiserv.job_version(job) as version from aiserv.jobs as job"
            )
            assert db.execute(f"{shown} where job.id = %s", [row["id"]]).fetchall() == [
                {"job": row["job"], "version": row["version"]}
            ]


def test_what_makes_no_sense_fails_alone_and_says_what_create_job_says(db: Db) -> None:
    bad: list[dict[str, Any]] = [
        {"owner_service": ""},
        {"priority": 101},
        {"metadata": [1]},
        {"delay": "1 s", "run_at": "2030-01-01Z"},
    ]

    rows = create_each(db, {}, *bad, {"priority": "x"}, {"other": 1}, 5, {})

    assert outcomes(rows) == ["new", *["JV400"] * 7, "new"]
    for job, row in zip(bad, rows[1:5], strict=True):
        fields = {name: json.dumps(value) if name == "metadata" else value for name, value in job.items()}
        assert row["message"] == refusal(db, "create_job", **JOB | fields).diag.message_primary
    assert [row["message"] for row in rows[5:8]] == [
        'invalid input syntax for type integer: "x"',
        "other: unknown field",
        "must be an object",
    ]
    assert len(call(db, "list_jobs")) == 2


def test_a_key_makes_one_job_and_a_different_body_fails_alone(db: Db) -> None:
    known = create(db, idempotency_key="old")

    rows = create_each(
        db,
        {"idempotency_key": "new"},
        {"idempotency_key": "old"},
        {"idempotency_key": "old", "priority": 1},
        {"idempotency_key": "new"},
        {"idempotency_key": "new", "priority": 1},
        {},
    )

    assert outcomes(rows) == ["new", "known", "JK422", "known", "JK422", "new"]
    assert (rows[1]["id"], rows[3]["id"]) == (known["id"], rows[0]["id"])
    mismatch = refusal(db, "create_job", **JOB, idempotency_key="old", priority=1).diag
    assert (rows[2]["message"], rows[2]["detail"], rows[2]["hint"]) == (
        mismatch.message_primary,
        mismatch.message_detail,
        mismatch.message_hint,
    )
    assert len(call(db, "list_jobs")) == 3


def test_a_key_that_another_transaction_holds_keeps_nobody_waiting_and_sends_nobody_else_away(
    db: Db, connect: Connect
) -> None:
    other, watcher, waiter = connect(), connect(), connect()
    first = create(db, idempotency_key="known")
    with other.transaction():
        held = create(other, idempotency_key="held")

        # Whoever waited for the key here would wait for the end of this transaction.
        sent = in_background(
            lambda: create_each(
                db,
                {"idempotency_key": "known", "priority": 1},
                {"idempotency_key": "held"},
                {},
                {"idempotency_key": "free"},
                {"idempotency_key": "held"},
                {"idempotency_key": "free"},
                {"idempotency_key": "known"},
            )
        )
        together = sent.result(PATIENCE)
        impatiently = in_background(lambda: create_each(db, {"idempotency_key": "held"})).result(PATIENCE)
        patiently = in_background(lambda: create_each(waiter, {"idempotency_key": "held"}, patience="1 hour"))
        wait_until_blocked(watcher, waiter)

    assert outcomes(together) == ["JK422", "55P03", "new", "new", "55P03", "known", "known"]
    assert (together[5]["id"], together[6]["id"]) == (together[3]["id"], first["id"])
    assert outcomes(impatiently) == ["55P03"]
    (known,) = patiently.result()
    assert (known["id"], known["is_new"]) == (held["id"], False)


def test_a_key_whose_job_is_deleted_meanwhile_never_answers_without_a_job(db: Db, connect: Connect) -> None:
    other, single, watcher = connect(), connect(), connect()
    create_many(db, [{"idempotency_key": "together"}, {"idempotency_key": "alone"}])
    call(db, "cancel_jobs", match_all=True)

    with other.transaction():
        # Both have read their keys when they wait for the counters.
        other.execute("lock table aiserv.delta in share row exclusive mode")
        together = in_background(lambda: create_each(db, {"idempotency_key": "together"}, {}))
        alone = in_background(lambda: create(single, idempotency_key="alone"))
        for waiting in (db, single):
            wait_until_blocked(watcher, waiting)
        call(other, "delete_jobs", model_profile="qwen")

    assert outcomes(together.result()) == ["new", "new"]
    assert alone.result()["status"] == "pending"


def test_a_full_queue_refuses_those_that_find_no_room(db: Db) -> None:
    db.execute("set aiserv.max_pending_per_owner = 2")
    db.execute("set aiserv.max_pending = 3")

    rows = create_each(
        db,
        {"idempotency_key": "a"},
        {},
        {"idempotency_key": "b"},
        {"idempotency_key": "b"},
        {"owner_service": "x"},
        {"owner_service": "y"},
        {"idempotency_key": "a"},
        {"idempotency_key": "b", "priority": 1},
    )

    assert outcomes(rows) == ["new", "new", "JQ429", "JQ429", "new", "JQ429", "known", "JQ429"]
    # Those that came in before it are counted, though nothing waited when the statement began.
    assert rows[2]["message"] == "2 jobs of telephony wait, and no more than 2 may"
    assert rows[5]["message"] == "3 jobs wait, and no more than 3 may"
    db.execute("set aiserv.max_pending_per_owner = 5")
    db.execute("set aiserv.max_pending = 5")
    assert outcomes(create_each(db, {"idempotency_key": "b"})) == ["new"]
