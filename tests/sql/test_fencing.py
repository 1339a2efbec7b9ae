"""Who may settle: the attempt that holds the job, and nobody else; repeats are answered, not refused."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.sql.calls import (
    PATIENCE,
    Db,
    attempts,
    call,
    claim,
    claimed,
    create,
    get,
    let_lease_run_out,
    let_time_come,
    lose_lease,
    one,
    refusal,
)

SETTLES: dict[str, dict[str, Any]] = {
    "complete_job": {"result": "{}"},
    "fail_job": {"category": "timeout", "message": "late"},
    "release_job": {},
    "heartbeat_job": {},
}
FAILURE = {"category": "timeout", "message": "late", "retryable": True}


@pytest.mark.parametrize("taken_by", ["retry", "recovery", "release"])
@pytest.mark.parametrize("verb", SETTLES)
def test_a_late_attempt_cannot_touch_the_job_of_its_successor(db: Db, verb: str, taken_by: str) -> None:
    late = claimed(db)
    if taken_by == "retry":
        call(db, "retry_job", job_id=late["id"])
    elif taken_by == "recovery":
        lose_lease(db, late["id"])
    else:
        call(db, "release_job", job_id=late["id"])
    (holder,) = claim(db)

    refused = refusal(db, verb, job_id=late["id"], attempt=late["attempt"], worker_id="worker-1", **SETTLES[verb])

    assert refused.sqlstate == "JL409"
    assert get(db, late["id"]) == holder
    assert holder["attempt"] == late["attempt"] + 1


@pytest.mark.parametrize("verb", SETTLES)
def test_what_is_not_there_is_not_a_lost_lease(db: Db, verb: str) -> None:
    refused = refusal(db, verb, job_id=uuid4(), attempt=1, worker_id="worker-1", **SETTLES[verb])

    assert refused.sqlstate == "JN404"


@pytest.mark.parametrize("verb", SETTLES)
def test_another_worker_cannot_settle(db: Db, verb: str) -> None:
    job = claimed(db)

    assert refusal(db, verb, job_id=job["id"], worker_id="worker-2", **SETTLES[verb]).sqlstate == "JL409"
    assert refusal(db, verb, job_id=job["id"], worker_id="worker-2", attempt=1, **SETTLES[verb]).sqlstate == "JL409"
    assert get(db, job["id"]) == job


@pytest.mark.parametrize(
    "fence", [{}, {"worker_id": "worker-1"}, {"attempt": 1}, {"worker_id": "worker-1", "attempt": 1}]
)
@pytest.mark.parametrize("verb", SETTLES)
def test_the_holder_may_settle_with_or_without_a_fence(db: Db, verb: str, fence: dict[str, Any]) -> None:
    job = claimed(db)

    settled = one(db, verb, job_id=job["id"], **fence, **SETTLES[verb])

    assert settled["updated_at"] > job["updated_at"]


@pytest.mark.parametrize("verb", SETTLES)
def test_a_lease_that_is_over_still_counts_until_the_job_is_taken(db: Db, verb: str) -> None:
    job = claimed(db)
    let_lease_run_out(db, job["id"])

    settled = one(db, verb, job_id=job["id"], attempt=1, **SETTLES[verb])

    assert settled["updated_at"] > job["updated_at"]
    assert call(db, "recover_jobs") == []


def test_a_heartbeat_never_makes_a_lease_shorter(db: Db) -> None:
    create(db)
    (job,) = claim(db, lease="1 hour")

    beaten = one(db, "heartbeat_job", job_id=job["id"], lease="1 second")
    (also,) = call(db, "heartbeat_jobs", job_ids=[job["id"]], attempts=[1], lease="1 second")

    assert beaten["lease_expires_at"] == also["lease_expires_at"] == job["lease_expires_at"]


def test_a_heartbeat_without_a_lease_renews_for_as_long_as_claimed(db: Db) -> None:
    create(db)
    (job,) = claim(db, lease="1 hour")

    beaten = one(db, "heartbeat_job", job_id=job["id"])

    # Two readings of the clock.
    assert beaten["lease_expires_at"] - beaten["updated_at"] == pytest.approx(
        timedelta(hours=1), abs=timedelta(seconds=PATIENCE)
    )
    assert beaten["lease_expires_at"] > job["lease_expires_at"]


def test_heartbeats_of_many_name_those_still_held(db: Db) -> None:
    for _ in range(3):
        create(db)
    kept, cancelled, retried = claim(db, 3)
    call(db, "cancel_job", job_id=cancelled["id"])
    call(db, "retry_job", job_id=retried["id"])
    (successor,) = claim(db)

    held = call(
        db, "heartbeat_jobs", job_ids=[kept["id"], cancelled["id"], retried["id"]], attempts=[1, 1, 1], lease="1 hour"
    )

    assert [job["id"] for job in held] == [kept["id"]]
    assert get(db, retried["id"]) == successor


@pytest.mark.parametrize("fence", [{}, {"attempt": 1}])
def test_a_repeated_completion_returns_the_job_unchanged(db: Db, fence: dict[str, int]) -> None:
    job = claimed(db)
    done = one(db, "complete_job", job_id=job["id"], result='{"n": 1.0}', **fence)

    again = one(db, "complete_job", job_id=job["id"], result='{"n": 1.0}', **fence)

    assert again == done
    assert refusal(db, "complete_job", job_id=job["id"], result='{"n": 1}', attempt=1).sqlstate == "JL409"
    assert refusal(db, "complete_job", job_id=job["id"], result='{"n": 1}').sqlstate == "JS409"
    assert refusal(db, "complete_job", job_id=job["id"], result='{"n": 1.0}', attempt=2).sqlstate == "JL409"


@pytest.mark.parametrize("max_attempts", [1, 3])
@pytest.mark.parametrize("fence", [{}, {"attempt": 1}])
def test_a_repeated_failure_returns_the_job_also_when_it_is_pending_again(
    db: Db, fence: dict[str, int], max_attempts: int
) -> None:
    job = claimed(db, max_attempts=max_attempts)
    failed = one(db, "fail_job", job_id=job["id"], **FAILURE, **fence)

    again = one(db, "fail_job", job_id=job["id"], **FAILURE, **fence)

    assert again == failed
    for other in ({"message": "later"}, {"category": "internal"}, {"retryable": False}):
        refused = refusal(db, "fail_job", job_id=job["id"], **(FAILURE | other), **fence)
        assert refused.sqlstate == ("JL409" if fence else "JS409")


def test_a_repeated_failure_with_a_long_message_is_a_repeat(db: Db) -> None:
    job = claimed(db)
    long = FAILURE | {"message": "x" * 30_000}
    failed = one(db, "fail_job", job_id=job["id"], attempt=1, **long)

    assert one(db, "fail_job", job_id=job["id"], attempt=1, **long) == failed


def test_a_failure_that_a_retry_has_cleared_is_no_repeat(db: Db) -> None:
    job = claimed(db, max_attempts=1)
    call(db, "fail_job", job_id=job["id"], attempt=1, **FAILURE)
    call(db, "retry_job", job_id=job["id"])

    assert refusal(db, "fail_job", job_id=job["id"], attempt=1, **FAILURE).sqlstate == "JL409"
    assert refusal(db, "fail_job", job_id=job["id"], **FAILURE).sqlstate == "JS409"


def test_a_failure_is_no_repeat_once_the_next_attempt_runs(db: Db) -> None:
    job = claimed(db)
    call(db, "fail_job", job_id=job["id"], attempt=1, **FAILURE)
    let_time_come(db, job["id"])
    claim(db)

    assert refusal(db, "fail_job", job_id=job["id"], attempt=1, **FAILURE).sqlstate == "JL409"
    assert get(db, job["id"])["status"] == "running"


@pytest.mark.parametrize("fence", [{}, {"attempt": 1}])
def test_a_repeated_release_returns_the_job_unchanged(db: Db, fence: dict[str, int]) -> None:
    job = claimed(db)
    released = one(db, "release_job", job_id=job["id"], **fence)

    assert one(db, "release_job", job_id=job["id"], **fence) == released
    assert attempts(db, job["id"]) == [(1, "released")]


@pytest.mark.parametrize(
    "arguments",
    [
        {"worker_id": ""},
        {"worker_id": "w" * 201},
        {"worker_id": None},
        {"max_jobs": 1001},
        {"max_jobs": -1},
        {"lease": "999 ms"},
        {"lease": "25 hours"},
        {"claim_id": ""},
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(db: Db, arguments: dict[str, Any]) -> None:
    create(db)

    refused = refusal(db, "claim_jobs", **({"worker_id": "worker-1"} | arguments))

    assert refused.sqlstate == "JV400"
    assert refused.diag.message_primary is not None
    assert refused.diag.message_primary.startswith(next(iter(arguments)))


def test_a_repeated_claim_returns_what_still_runs_of_it(db: Db) -> None:
    for _ in range(4):
        create(db)
    first = claim(db, 3, claim_id="c1")
    call(db, "complete_job", job_id=first[0]["id"], result="1")

    again = claim(db, 3, claim_id="c1")

    assert [job | {"updated_at": job["started_at"]} for job in again] == sorted(first[1:], key=lambda job: job["id"])
    assert all(job["updated_at"] > job["started_at"] for job in again)
    assert len(claim(db, 3, claim_id="c2")) == 1
    assert claim(db, 3, claim_id="c1", worker_id="worker-2") == []
