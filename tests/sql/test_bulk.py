"""Retry and cancel by conditions."""

from uuid import UUID, uuid4

import pytest

from tests.sql.calls import STATES, Db, attempts, call, claim, create_many, get, in_state, refusal


def touched(db: Db, verb: str, **conditions: object) -> list[UUID]:
    return [job["id"] for job in call(db, verb, **conditions)]


def test_retry_means_failed_and_running_unless_told_otherwise(db: Db) -> None:
    jobs = {state: in_state(db, state) for state in STATES}

    assert touched(db, "retry_jobs", match_all=True) == [jobs["running"], jobs["failed"]]
    assert {get(db, jobs[state])["status"] for state in ("running", "failed")} == {"pending"}
    assert attempts(db, jobs["running"]) == [(1, "superseded")]


def test_cancel_means_pending_and_running_unless_told_otherwise(db: Db) -> None:
    jobs = {state: in_state(db, state) for state in STATES}

    cancelled = call(db, "cancel_jobs", match_all=True, reason="tidy up")

    assert [job["id"] for job in cancelled] == [jobs[state] for state in ("pending", "scheduled", "waiting", "running")]
    assert {(job["status"], job["error_message"]) for job in cancelled} == {("cancelled", "tidy up")}


@pytest.mark.parametrize(
    ("verb", "state"),
    [("retry_jobs", "failed"), ("retry_jobs", "running"), ("cancel_jobs", "running"), ("cancel_jobs", "pending")],
)
def test_conditions_choose_oldest_first_up_to_max_jobs(db: Db, verb: str, state: str) -> None:
    jobs = [in_state(db, state) for _ in range(4)]

    assert touched(db, verb, status=[state], max_jobs=2) == jobs[:2]
    assert touched(db, verb, id=[jobs[3]], owner_service=["telephony"]) == [jobs[3]]
    assert touched(db, verb, owner_service=["nobody"]) == []


@pytest.mark.parametrize("verb", ["list_jobs", "retry_jobs", "cancel_jobs"])
def test_each_condition_alone_finds_what_it_names(db: Db, verb: str) -> None:
    names = ["owner_service", "owner_ref", "task_type", "model_profile"]
    jobs = []
    for kind in ("other", "wanted"):
        (job,) = create_many(db, [{name: f"{kind} {name}" for name in names}], batch_id=uuid4())
        failure = {"category": f"{kind}_category", "message": "", "retryable": True, "retry_after": "0"}
        claim(db)
        call(db, "fail_job", job_id=job["id"], **failure)
        jobs += claim(db, worker_id=f"{kind} worker")
    other, wanted = jobs

    for name in ("id", *names, "error_category", "worker_id", "batch_id"):
        with db.transaction(force_rollback=True):
            assert touched(db, verb, **{name: [wanted[name]]}) == [wanted["id"]], name
    with db.transaction(force_rollback=True):
        assert touched(db, verb, created_after=wanted["created_at"]) == [wanted["id"]]
    assert touched(db, verb, created_before=wanted["created_at"]) == [other["id"]]


@pytest.mark.parametrize("verb", ["retry_jobs", "cancel_jobs"])
def test_no_condition_means_nothing_unless_all_is_said(db: Db, verb: str) -> None:
    in_state(db, "running")

    assert refusal(db, verb).sqlstate == "JE400"
    assert refusal(db, verb, max_jobs=5).sqlstate == "JE400"
    assert refusal(db, verb, owner_service=[]).sqlstate == "JV400"
    assert refusal(db, verb, owner_service=["a"], max_jobs=0).sqlstate == "JV400"
    assert len(touched(db, verb, match_all=True)) == 1


@pytest.mark.parametrize(
    ("verb", "status"),
    [("retry_jobs", "pending"), ("retry_jobs", "completed"), ("cancel_jobs", "failed"), ("cancel_jobs", "lost")],
)
def test_a_status_that_the_verb_cannot_act_on_is_refused(db: Db, verb: str, status: str) -> None:
    assert refusal(db, verb, status=[status]).sqlstate == "JV400"
