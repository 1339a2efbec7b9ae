"""Pauses and limits: exact where they are promised to be, and no cost to queues without them."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.sql.calls import (
    Connect,
    Db,
    call,
    claim,
    create,
    create_many,
    in_background,
    one,
    refusal,
    wait_until_blocked,
)


def test_a_paused_profile_gives_nothing_until_it_is_resumed(db: Db) -> None:
    create_many(db, [{}, {"model_profile": "other"}])

    paused = one(db, "pause_queue", model_profile="qwen", pause_reason="upgrade")

    assert (paused["paused"], paused["pause_reason"], paused["pending"]) == (True, "upgrade", 1)
    assert [job["model_profile"] for job in claim(db, 9)] == ["other"]
    resumed = one(db, "resume_queue", model_profile="qwen")
    assert (resumed["paused"], resumed["pause_reason"]) == (False, None)
    assert len(claim(db, 9)) == 1


@pytest.mark.parametrize("asked", [{}, {"model_profiles": ["qwen", "other"]}])
def test_the_first_settings_of_a_queue_wait_for_the_claims_that_did_not_see_them(
    db: Db, connect: Connect, asked: dict[str, Any]
) -> None:
    create_many(db, [{}] * 2)
    claimer, pauser = connect(), connect()

    with claimer.transaction():
        claim(claimer, **asked)
        paused = in_background(lambda: one(pauser, "pause_queue", model_profile="qwen"))
        wait_until_blocked(db, pauser)

    assert paused.result()["running"] == 1


@pytest.mark.parametrize("asked", [{}, {"model_profiles": ["qwen", "other"]}])
def test_a_claim_waits_for_the_first_settings_of_its_queue(db: Db, connect: Connect, asked: dict[str, Any]) -> None:
    create(db)
    claimer, pauser = connect(), connect()

    with pauser.transaction():
        call(pauser, "pause_queue", model_profile="qwen")
        claimed = in_background(lambda: claim(claimer, **asked))
        wait_until_blocked(db, claimer)

    assert claimed.result() == []


PROFILES = [f"model-{number}" for number in range(300)]


@pytest.mark.parametrize(("asked", "most"), [({}, 1), ({"model_profiles": PROFILES}, 64)])
def test_a_claim_of_hundreds_of_profiles_takes_few_locks(db: Db, asked: dict[str, Any], most: int) -> None:
    create_many(db, [{"model_profile": profile} for profile in PROFILES])

    with db.transaction():
        assert len(claim(db, 300, **asked)) == 300
        (held,) = db.execute(
            "select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'"
        ).fetchall()

    # And one of the worker, and one of the turn of its owner.
    assert held["count"] <= most + 2


def test_a_pause_may_be_of_one_task_type_alone(db: Db) -> None:
    create_many(db, [{"task_type": "a"}, {"task_type": "b"}])

    call(db, "pause_queue", model_profile="qwen", task_type="a")

    assert [job["task_type"] for job in claim(db, 9)] == ["b"]


def test_a_pause_with_an_end_is_over_by_itself(db: Db) -> None:
    create(db)
    call(db, "pause_queue", model_profile="qwen", paused_until=datetime.now(UTC) + timedelta(hours=1))
    assert claim(db) == []

    db.execute("update aiserv.queue_setting set paused_until = clock_timestamp() - interval '1 second'")

    assert one(db, "list_queues", model_profile="qwen", task_type="chat")["paused"] is False
    assert len(claim(db)) == 1


def test_running_jobs_go_on_in_a_paused_queue(db: Db) -> None:
    create(db)
    (job,) = claim(db)
    call(db, "pause_queue", model_profile="qwen")

    assert one(db, "complete_job", job_id=job["id"], attempt=1, result="1")["status"] == "completed"


def test_max_running_is_exact_with_eight_claimers_at_once(db: Db, connect: Connect) -> None:
    create_many(db, [{"task_type": f"type-{n % 2}"} for n in range(40)])
    call(db, "set_queue", model_profile="qwen", max_running=5)
    connections = [connect() for _ in range(8)]

    claims = [in_background(partial(claim, one, 3, worker_id=f"w{n}")) for n, one in enumerate(connections)]
    jobs = [job for future in claims for job in future.result()]

    assert len(jobs) == 5
    call(db, "complete_job", job_id=jobs[0]["id"], result="1")
    call(db, "release_job", job_id=jobs[1]["id"])
    assert len(claim(db, 9)) == 2
    assert claim(db, 9) == []


def test_a_claim_at_repeatable_read_cannot_exceed_max_running(db: Db, connect: Connect) -> None:
    create_many(db, [{}, {}])
    call(db, "set_queue", model_profile="qwen", max_running=1)
    old = connect()
    old.execute("begin isolation level repeatable read")
    old.execute("select count(*) from aiserv.jobs")

    claim(db)

    assert refusal(old, "claim_jobs", worker_id="w").sqlstate == "40001"


def test_of_a_profile_and_its_task_type_the_tighter_limit_holds(db: Db) -> None:
    create_many(db, [{"task_type": kind} for kind in "aaabbb"])
    call(db, "set_queue", model_profile="qwen", max_running=3)
    call(db, "set_queue", model_profile="qwen", task_type="a", max_running=1)

    kinds = sorted(job["task_type"] for job in claim(db, 9))

    assert kinds == ["a", "b", "b"]


def test_a_full_queue_does_not_hold_up_others(db: Db) -> None:
    create_many(db, [{"priority": 9}] * 3 + [{"model_profile": "other"}] * 3)
    call(db, "set_queue", model_profile="qwen", max_running=1)

    assert [job["model_profile"] for job in claim(db, 9)] == ["qwen", "other", "other", "other"]


def test_requests_per_minute_are_a_bucket_that_fills_with_time(db: Db) -> None:
    create_many(db, [{}] * 20)
    # Few: half a minute for the next one is longer than a machine stands still.
    call(db, "set_queue", model_profile="qwen", requests_per_minute=2)

    assert len(claim(db, 20)) == 2
    assert claim(db, 20) == []
    (row,) = call(db, "next_wake", model_profiles=["qwen"])
    assert row["next_wake"] - datetime.now(UTC) <= timedelta(seconds=30)
    db.execute("update aiserv.queue_setting set refilled_at = refilled_at - interval '30 seconds'")
    assert len(claim(db, 20)) == 1


def test_what_a_rate_has_allowed_since_the_last_claim_wakes_nobody(db: Db) -> None:
    create_many(db, [{}] * 20)
    call(db, "set_queue", model_profile="qwen", requests_per_minute=6)
    claimed = claim(db, 20)

    db.execute("update aiserv.queue_setting set refilled_at = refilled_at - interval '30 seconds'")
    (row,) = call(db, "next_wake")

    assert row["next_wake"] == claimed[0]["lease_expires_at"]


def test_tokens_are_reserved_at_the_claim_and_corrected_by_the_usage(db: Db) -> None:
    create_many(db, [{"input": {"max_tokens": 600}}] * 20)
    call(db, "set_queue", model_profile="qwen", tokens_per_minute=1000)

    jobs = claim(db, 20)
    assert len(jobs) == 2
    settlements = [{"id": str(job["id"]), "attempt": 1, "result": 1, "usage": {"total_tokens": 100}} for job in jobs]
    call(db, "settle_jobs", settlements=json.dumps(settlements))

    (row,) = db.execute("select token_balance from aiserv.queue_setting").fetchall()
    assert row["token_balance"] == pytest.approx(800, abs=200)
    assert len(claim(db, 20)) == 2


def test_a_failed_attempt_pays_for_what_it_used_and_a_released_one_for_its_estimate(db: Db) -> None:
    create_many(db, [{"input": {"max_tokens": 300}}] * 2)
    call(db, "set_queue", model_profile="qwen", tokens_per_minute=100_000)
    failed, released = claim(db, 2)
    balance = "select token_balance from aiserv.queue_setting"
    (before,) = db.execute(balance).fetchall()

    call(db, "fail_job", job_id=failed["id"], category="timeout", message="", usage='{"total_tokens": 0}')
    call(db, "release_job", job_id=released["id"])

    (after,) = db.execute(balance).fetchall()
    assert after["token_balance"] - before["token_balance"] == pytest.approx(305, abs=2)


def test_what_is_left_out_stays_and_null_lifts(db: Db) -> None:
    call(db, "set_queue", model_profile="qwen", max_running=3, requests_per_minute=1)
    create_many(db, [{}] * 5)
    assert len(claim(db, 5)) == 1
    call(db, "pause_queue", model_profile="qwen", pause_reason="why")

    kept = one(db, "set_queue", model_profile="qwen", tokens_per_minute=10_000)
    lifted = one(db, "set_queue", model_profile="qwen", requests_per_minute=None, tokens_per_minute=None, paused=False)

    assert (kept["paused"], kept["pause_reason"], kept["max_running"], kept["requests_per_minute"]) == (
        True,
        "why",
        3,
        1,
    )
    assert (lifted["paused"], lifted["max_running"], lifted["requests_per_minute"]) == (False, 3, None)
    assert len(claim(db, 5)) == 2


def test_the_reason_of_a_pause_can_be_changed_and_lifted_alone(db: Db) -> None:
    call(db, "set_queue", model_profile="qwen", paused=True, pause_reason="why")

    kept = one(db, "set_queue", model_profile="qwen", paused=True)
    changed = one(db, "set_queue", model_profile="qwen", pause_reason="other")
    lifted = one(db, "set_queue", model_profile="qwen", pause_reason=None)

    shown = [(queue["paused"], queue["pause_reason"]) for queue in (kept, changed, lifted)]
    assert shown == [(True, "why"), (True, "other"), (True, None)]


def test_a_new_pause_does_not_inherit_the_reason_of_one_that_is_over(db: Db) -> None:
    call(
        db, "pause_queue", model_profile="qwen", pause_reason="why", paused_until=datetime.now(UTC) + timedelta(hours=1)
    )
    db.execute("update aiserv.queue_setting set paused_until = clock_timestamp() - interval '1 second'")

    assert one(db, "set_queue", model_profile="qwen", paused=True)["pause_reason"] is None


@pytest.mark.parametrize(
    "bad",
    [
        {"model_profile": ""},
        {"task_type": ""},
        {"max_running": -2},
        {"requests_per_minute": 0},
        {"tokens_per_minute": -5},
        {"pause_reason": "x" * 1001},
        {"paused_until": "2030-01-01Z"},
        {"paused": True, "paused_until": "2020-01-01Z"},
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(db: Db, bad: dict[str, Any]) -> None:
    refused = refusal(db, "set_queue", **({"model_profile": "qwen"} | bad))

    assert refused.sqlstate == "JV400"
    assert (refused.diag.message_primary or "").startswith(next(iter(bad)))
    assert call(db, "list_queues") == []


def test_the_queues_are_listed_with_their_numbers(db: Db) -> None:
    create_many(db, [{"task_type": kind} for kind in "aab"] + [{"delay": 60, "task_type": "b"}])
    claim(db)

    rows = {
        (row["model_profile"], row["task_type"]): (row["running"], row["pending"]) for row in call(db, "list_queues")
    }

    assert rows == {("qwen", None): (1, 3), ("qwen", "a"): (1, 1), ("qwen", "b"): (0, 2)}
