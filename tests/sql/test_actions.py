"""Who stepped in: remembered in the transaction of what was done, and never otherwise."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.sql.calls import STATES, Connect, Db, call, create, create_many, in_state, one, refusal

QUEUE = {"model_profile": "qwen"}


@pytest.fixture
def telephony(db: Db, connect: Connect) -> Iterator[Db]:
    """A service that logged in as a role of its own."""
    role = f"telephony_{uuid4().hex}"
    db.execute(sql.SQL("create role {} login in role aiserv_service").format(sql.Identifier(role)))
    yield connect(user=role)
    db.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def actions(db: Db) -> list[dict[str, Any]]:
    """What is remembered, in order, without what is null."""
    rows = db.execute("select * from aiserv.actions order by acted_at").fetchall()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def said(db: Db) -> list[dict[str, Any]]:
    """As `actions`, without when and by whom."""
    unsaid = {"acted_at", "role", "client", "actor"}
    return [{name: value for name, value in row.items() if name not in unsaid} for row in actions(db)]


def test_a_cancel_and_a_retry_are_remembered_with_the_job_and_the_reason(db: Db) -> None:
    cancelled, retried = in_state(db, "running"), in_state(db, "failed")

    call(db, "cancel_job", job_id=cancelled, reason="no longer wanted")
    call(db, "retry_job", job_id=retried)

    assert said(db) == [
        {"action": "cancel", "jobs": 1, "job_ids": [cancelled], "reason": "no longer wanted"},
        {"action": "retry", "jobs": 1, "job_ids": [retried]},
    ]


@pytest.mark.parametrize(("verb", "done"), [("cancel_jobs", "cancel"), ("retry_jobs", "retry")])
def test_a_bulk_verb_is_remembered_once_with_the_jobs_that_it_reached(db: Db, verb: str, done: str) -> None:
    for state in STATES:
        in_state(db, state)
    db.execute("set role aiserv_owner")
    db.execute("delete from aiserv.action")
    db.execute("reset role")

    reached = call(db, verb, match_all=True, actor="maria")

    (action,) = actions(db)
    assert (action["action"], action["actor"], action["jobs"]) == (done, "maria", len(reached))
    assert sorted(action["job_ids"]) == sorted(job["id"] for job in reached)


def test_a_delete_is_remembered_with_the_jobs_that_are_gone(db: Db, connect: Connect) -> None:
    batch = [job["id"] for job in create_many(db, [{}, {}, {}])]
    call(db, "cancel_jobs", id=batch)
    with connect().transaction() as holding:
        holding.connection.execute("select from aiserv.unsuccessful where job_id = %s for update", [batch[0]])
        call(db, "delete_jobs", model_profile="qwen", actor="maria")

    assert sorted(said(db)[-1].pop("job_ids")) == sorted(batch[1:])
    assert said(db)[-1] | {"job_ids": []} == {"action": "delete", "jobs": 2, "job_ids": [], "model_profile": "qwen"}


def test_a_prune_by_hand_is_remembered_with_the_jobs_that_are_gone(db: Db) -> None:
    jobs = [job["id"] for job in create_many(db, [{}, {}])]
    call(db, "cancel_jobs", match_all=True)

    for _ in range(3):
        call(db, "prune_jobs", retention="1 microsecond", max_jobs=1, actor="maria")

    assert said(db)[1:] == [{"action": "delete", "jobs": 1, "job_ids": [job]} for job in jobs]
    assert actions(db)[-1]["actor"] == "maria"


def test_each_change_of_a_queue_is_remembered_with_what_it_was_before(db: Db) -> None:
    until = datetime(2100, 1, 1, tzinfo=UTC)
    db.execute("set time zone 'UTC'")

    call(db, "set_queue", **QUEUE, task_type="chat", max_running=8, tokens_per_minute=9)
    call(db, "set_queue", **QUEUE, task_type="chat", max_running=None)
    call(db, "pause_queue", **QUEUE, pause_reason="release", paused_until=until)
    call(db, "resume_queue", **QUEUE)

    assert said(db) == [
        {
            "action": "set_queue",
            **QUEUE,
            "task_type": "chat",
            "changes": {"max_running": {"from": None, "to": 8}, "tokens_per_minute": {"from": None, "to": 9}},
        },
        {"action": "set_queue", **QUEUE, "task_type": "chat", "changes": {"max_running": {"from": 8, "to": None}}},
        {
            "action": "set_queue",
            **QUEUE,
            "changes": {
                "paused": {"from": False, "to": True},
                "paused_until": {"from": None, "to": "2100-01-01T00:00:00+00:00"},
                "pause_reason": {"from": None, "to": "release"},
            },
        },
        {
            "action": "set_queue",
            **QUEUE,
            "changes": {
                "paused": {"from": True, "to": False},
                "paused_until": {"from": "2100-01-01T00:00:00+00:00", "to": None},
                "pause_reason": {"from": "release", "to": None},
            },
        },
    ]


def test_what_changes_nothing_is_not_remembered(db: Db) -> None:
    cancelled, completed = in_state(db, "cancelled"), in_state(db, "completed")
    call(db, "pause_queue", **QUEUE)
    before = actions(db)

    call(db, "cancel_job", job_id=cancelled)
    call(db, "cancel_jobs", match_all=True)
    call(db, "retry_jobs", match_all=True)
    call(db, "delete_jobs", model_profile="none")
    call(db, "set_queue", model_profile="other")
    call(db, "pause_queue", **QUEUE)
    call(db, "resume_queue", model_profile="other")
    refused = [
        refusal(db, "cancel_job", job_id=completed).sqlstate,
        refusal(db, "retry_job", job_id=cancelled).sqlstate,
        refusal(db, "cancel_job", job_id=uuid4()).sqlstate,
        refusal(db, "set_queue", **QUEUE, max_running=-2).sqlstate,
    ]

    assert refused == ["JS409", "JS409", "JN404", "JV400"]
    assert actions(db) == before


def test_what_is_rolled_back_was_never_done(db: Db) -> None:
    waiting, running = in_state(db, "pending"), in_state(db, "running")

    with db.transaction(force_rollback=True):
        call(db, "cancel_job", job_id=waiting)
        call(db, "retry_job", job_id=running)
        call(db, "pause_queue", **QUEUE)
        assert len(actions(db)) == 3

    assert actions(db) == []


def test_work_and_housekeeping_are_not_remembered(db: Db) -> None:
    for state in set(STATES) - {"cancelled"}:
        in_state(db, state)
    call(db, "sweep", retention="1 microsecond")

    assert actions(db) == []


def test_the_role_is_that_of_the_login_whoever_the_caller_says_he_is(db: Db, telephony: Db) -> None:
    job = create(telephony)
    telephony.execute("set role aiserv_service")

    call(telephony, "cancel_job", job_id=job["id"], actor="somebody else")

    (action,) = actions(db)
    assert (action["role"], action["actor"]) == (telephony.info.user, "somebody else")


@pytest.mark.parametrize(
    "statement",
    [
        "insert into aiserv.action (acted_at, role, action) values (now(), 'me', 'cancel')",
        "update aiserv.action set role = 'me'",
        "delete from aiserv.action",
        "truncate aiserv.action",
        "insert into aiserv.actions (acted_at, role, action) values (now(), 'me', 'cancel')",
        "update aiserv.actions set role = 'me'",
        "delete from aiserv.actions",
        "select aiserv._record_action('cancel', 'me', '{}')",
        "select aiserv._prune_actions(now(), 1)",
        "set session authorization aiserv_owner",
    ],
)
def test_a_service_neither_makes_up_nor_changes_what_is_remembered(db: Db, telephony: Db, statement: str) -> None:
    call(db, "pause_queue", **QUEUE)
    before = actions(db)

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        telephony.execute(statement.encode())

    assert actions(telephony) == before


def test_a_reader_reads_what_is_remembered(db: Db, connect: Connect) -> None:
    call(db, "pause_queue", **QUEUE)

    assert actions(connect(options="-c role=aiserv_readonly")) == actions(db)


@pytest.mark.parametrize(
    "prune",
    [
        lambda db, retention: call(db, "prune_jobs", retention=retention),
        lambda db, retention: call(db, "sweep", retention=retention),
    ],
    ids=["prune_jobs", "sweep"],
)
def test_retention_forgets_what_is_old_and_never_the_last_month(
    db: Db, telephony: Db, prune: Callable[[Db, str], object]
) -> None:
    for days in (29, 31, 41, 51):
        call(db, "set_queue", **QUEUE, max_running=days)
        db.execute(
            "update aiserv.action set acted_at = acted_at - %s * interval '1 day'"
            " where acted_at > clock_timestamp() - interval '1 day'",
            [days],
        )

    left = []
    for retention in ("0", "45 days", "40 days", "1 microsecond"):
        prune(telephony, retention)
        left.append(len(actions(db)))

    assert left == [4, 3, 2, 1]


def test_the_oldest_are_forgotten_first_and_so_many_at_once(db: Db) -> None:
    for number in range(1, 13):
        call(db, "set_queue", **QUEUE, max_running=number)
    db.execute("update aiserv.action set acted_at = acted_at - interval '31 days'")

    call(db, "prune_jobs", max_jobs=1)

    assert [action["changes"]["max_running"]["to"] for action in actions(db)] == [11, 12]


def test_what_is_too_long_is_cut_and_stops_nobody(db: Db) -> None:
    job = create(db)

    one(db, "cancel_job", job_id=job["id"], actor="a" * 201, reason="r" * 10_001)

    (action,) = actions(db)
    assert (len(action["actor"]), len(action["reason"])) == (200, 10_000)
