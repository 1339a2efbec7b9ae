"""The life of a job: which verb leads where from which state, and what it changes."""

from datetime import timedelta
from typing import Any

import pytest

from tests.sql.calls import STATES, Db, attempts, call, claim, claimed, create, get, in_state, one, refusal

SETTLES: dict[str, dict[str, Any]] = {
    "complete_job": {"result": '{"n": 2}'},
    "fail_job": {"category": "provider_error", "message": "no answer"},
    "release_job": {},
    "heartbeat_job": {},
}
# What a verb does to a job in a state, if it does not refuse: the status afterwards.
ALLOWED = {
    ("complete_job", "running"): "completed",
    ("fail_job", "running"): "failed",
    ("release_job", "running"): "pending",
    ("heartbeat_job", "running"): "running",
    ("retry_job", "running"): "pending",
    ("retry_job", "failed"): "pending",
    ("cancel_job", "pending"): "cancelled",
    ("cancel_job", "scheduled"): "cancelled",
    ("cancel_job", "waiting"): "cancelled",
    ("cancel_job", "running"): "cancelled",
    ("cancel_job", "cancelled"): "cancelled",
}
VERBS = {**SETTLES, "retry_job": {}, "cancel_job": {}}


@pytest.mark.parametrize("state", ["unknown", *STATES])
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_leads_from_a_state_where_the_table_says_or_changes_nothing(db: Db, verb: str, state: str) -> None:
    job_id = in_state(db, state)
    before = call(db, "list_jobs", id=[job_id])

    if status := ALLOWED.get((verb, state)):
        after = one(db, verb, job_id=job_id, **VERBS[verb])

        assert after["status"] == status
        assert after == get(db, job_id)
    else:
        refused = refusal(db, verb, job_id=job_id, **VERBS[verb])

        assert refused.sqlstate == ("JN404" if state == "unknown" else "JS409")
        assert refused.diag.message_hint
        assert call(db, "list_jobs", id=[job_id]) == before


@pytest.mark.parametrize("state", ["pending", "scheduled", "waiting", "completed", "failed", "cancelled"])
@pytest.mark.parametrize("verb", SETTLES)
def test_with_an_attempt_given_a_job_that_is_not_held_is_a_lost_lease(db: Db, verb: str, state: str) -> None:
    job_id = in_state(db, state)
    before = get(db, job_id)

    refused = refusal(db, verb, job_id=job_id, attempt=1, **SETTLES[verb])

    assert refused.sqlstate == "JL409"
    assert get(db, job_id) == before


@pytest.mark.parametrize("state", ["scheduled", "waiting", "running", "completed", "failed", "cancelled"])
def test_only_a_due_pending_job_is_claimed(db: Db, state: str) -> None:
    job_id = in_state(db, state)
    before = get(db, job_id)

    assert claim(db, 10) == []
    assert get(db, job_id) == before


def test_a_new_job_is_pending_and_due(db: Db) -> None:
    job = create(db, owner_ref="beeline/42", priority=5, metadata='{"a":1}', traceparent=f"00-{'a' * 32}-{'b' * 16}-01")

    assert job == get(db, job["id"])
    assert job["status"] == "pending"
    assert (job["attempt"], job["failures"], job["max_attempts"]) == (0, 0, 3)
    assert job["created_at"] == job["updated_at"] == job["run_at"]
    empty = "result progress usage error_category error_message worker_id idempotency_key batch_id lease_expires_at"
    assert {job[name] for name in [*empty.split(), "timeout_seconds", "started_at", "finished_at"]} == {None}


def test_a_claim_starts_an_attempt_under_a_lease(db: Db) -> None:
    created = create(db)

    (job,) = claim(db, worker_id="worker-7", lease="90 seconds")

    assert (job["status"], job["attempt"], job["worker_id"]) == ("running", 1, "worker-7")
    assert job["lease_expires_at"] == job["started_at"] + timedelta(seconds=90)
    assert job["updated_at"] == job["started_at"] >= created["created_at"]
    assert attempts(db, job["id"]) == [(1, None)]


def test_a_claimed_job_is_shown_as_whoever_looks_will_see_it(db: Db) -> None:
    job = create(
        db, owner_ref="a/b", priority=7, max_attempts=5, timeout_seconds=9.5, metadata='{"k": 1}', idempotency_key="k"
    )
    create(db)
    claim(db)
    call(db, "fail_job", job_id=job["id"], category="timeout", message="late", retryable=True, retry_after="0")

    claimed = claim(db, 2)

    assert claimed == [get(db, each["id"]) for each in claimed]
    assert (claimed[0]["id"], claimed[0]["failures"], claimed[0]["error_category"]) == (job["id"], 1, "timeout")


def test_a_completed_job_shows_its_result_and_no_trace_of_earlier_failures(db: Db) -> None:
    job = claimed(db)
    call(db, "fail_job", job_id=job["id"], category="timeout", message="late", retryable=True, retry_after="0")
    (job,) = claim(db, worker_id="worker-2")
    call(db, "heartbeat_job", job_id=job["id"], progress="50")

    done = one(db, "complete_job", job_id=job["id"], result='{"n": 1}', attempt=2, usage='{"total_tokens": 7}')

    assert (done["status"], done["result"], done["usage"]) == ("completed", {"n": 1}, {"total_tokens": 7})
    assert (done["error_category"], done["error_message"], done["progress"]) == (None, None, None)
    assert (done["attempt"], done["worker_id"], done["lease_expires_at"]) == (2, "worker-2", None)
    assert done["finished_at"] == done["updated_at"] > done["started_at"] == job["started_at"]
    assert attempts(db, job["id"]) == [(1, "retrying"), (2, "completed")]


def test_a_failed_job_shows_why_and_who_had_it(db: Db) -> None:
    job = claimed(db)

    failed = one(
        db, "fail_job", job_id=job["id"], category="invalid_input", message="no text", usage='{"total_tokens": 3}'
    )

    assert (failed["status"], failed["error_category"], failed["error_message"]) == (
        "failed",
        "invalid_input",
        "no text",
    )
    assert (failed["worker_id"], failed["attempt"], failed["failures"]) == ("worker-1", 1, 0)
    assert failed["usage"] == {"total_tokens": 3}
    assert failed["finished_at"] == failed["updated_at"]
    assert attempts(db, job["id"]) == [(1, "failed")]


def test_a_released_job_keeps_its_place_its_failures_and_its_error(db: Db) -> None:
    job = claimed(db)
    call(db, "fail_job", job_id=job["id"], category="timeout", message="late", retryable=True, retry_after="0")
    (job,) = claim(db)

    released = one(db, "release_job", job_id=job["id"], attempt=2)

    assert (released["status"], released["attempt"], released["failures"]) == ("pending", 2, 1)
    assert (released["run_at"], released["error_category"]) == (job["run_at"], "timeout")
    assert (released["worker_id"], released["lease_expires_at"], released["finished_at"]) == (None, None, None)
    assert attempts(db, job["id"]) == [(1, "retrying"), (2, "released")]


@pytest.mark.parametrize("give_back", ["release_job", "recover_jobs"])
def test_a_job_that_comes_back_is_due_though_the_clock_has_gone_back(db: Db, give_back: str) -> None:
    job = claimed(db)
    db.execute("update aiserv.job set run_at = run_at + interval '2 hours'")
    if give_back == "recover_jobs":
        db.execute("update aiserv.lease set lease_expires_at = clock_timestamp() - interval '1 second'")
        call(db, give_back)
    else:
        call(db, give_back, job_id=job["id"])

    assert [again["id"] for again in claim(db)] == [job["id"]]


def test_a_job_released_with_a_delay_waits_for_it(db: Db) -> None:
    job = claimed(db)

    released = one(db, "release_job", job_id=job["id"], delay="1 minute")

    assert released["run_at"] == released["updated_at"] + timedelta(minutes=1)
    assert claim(db) == []


def test_a_heartbeat_moves_the_lease_and_shows_progress(db: Db) -> None:
    job = claimed(db)

    beaten = one(db, "heartbeat_job", job_id=job["id"], attempt=1, lease="1 hour", progress='{"percent": 40}')
    beaten_again = one(db, "heartbeat_job", job_id=job["id"], attempt=1)

    assert beaten["progress"] == {"percent": 40} == beaten_again["progress"]
    assert beaten["lease_expires_at"] > job["lease_expires_at"] + timedelta(minutes=40)
    assert beaten["updated_at"] > job["updated_at"]


def test_a_retried_job_begins_anew_and_keeps_counting_attempts(db: Db) -> None:
    job_id = claimed(db, max_attempts=1)["id"]
    failed = one(db, "fail_job", job_id=job_id, category="timeout", message="late", retryable=True)

    retried = one(db, "retry_job", job_id=job_id)

    assert (failed["status"], failed["failures"]) == ("failed", 1)
    assert (retried["status"], retried["attempt"], retried["failures"]) == ("pending", 1, 0)
    gone = ["error_category", "error_message", "result", "usage", "worker_id", "finished_at"]
    assert {retried[name] for name in gone} == {None}
    assert retried["run_at"] == retried["updated_at"] > failed["updated_at"]
    assert [job["attempt"] for job in claim(db)] == [2]
    assert attempts(db, job_id) == [(1, "failed"), (2, None)]


def test_a_retried_running_job_is_taken_from_its_worker(db: Db) -> None:
    job = claimed(db)

    retried = one(db, "retry_job", job_id=job["id"])

    assert (retried["status"], retried["worker_id"], retried["lease_expires_at"]) == ("pending", None, None)
    assert attempts(db, job["id"]) == [(1, "superseded")]


def test_a_cancelled_pending_job_shows_the_reason_and_no_worker(db: Db) -> None:
    job = create(db)

    cancelled = one(db, "cancel_job", job_id=job["id"], reason="not needed")

    assert (cancelled["status"], cancelled["error_message"], cancelled["error_category"]) == (
        "cancelled",
        "not needed",
        None,
    )
    assert (cancelled["worker_id"], cancelled["attempt"], cancelled["result"]) == (None, 0, None)
    assert cancelled["finished_at"] == cancelled["updated_at"]
    assert attempts(db, job["id"]) == []


def test_a_cancelled_running_job_shows_the_worker_that_lost_it(db: Db) -> None:
    job = claimed(db)

    cancelled = one(db, "cancel_job", job_id=job["id"], reason="x" * 20_000)

    assert (cancelled["worker_id"], cancelled["attempt"], cancelled["started_at"]) == ("worker-1", 1, job["started_at"])
    assert len(cancelled["error_message"]) == 10_000
    assert attempts(db, job["id"]) == [(1, "cancelled")]


def test_cancelling_again_changes_nothing(db: Db) -> None:
    job = create(db)
    cancelled = one(db, "cancel_job", job_id=job["id"], reason="first")

    again = one(db, "cancel_job", job_id=job["id"], reason="second")

    assert again == cancelled
