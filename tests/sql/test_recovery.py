"""Jobs of workers that died: pending again at once, and failed after three times in a row."""

import pytest

from tests.sql.calls import Connect, Db, attempts, call, claim, claimed, create, get, let_lease_run_out, lose_lease


def test_a_lost_job_is_pending_again_in_its_old_place(db: Db) -> None:
    job = claimed(db)
    create(db)

    recovered = lose_lease(db, job["id"])

    assert (recovered["status"], recovered["attempt"], recovered["failures"]) == ("pending", 1, 0)
    assert (recovered["run_at"], recovered["worker_id"], recovered["error_category"]) == (job["run_at"], None, None)
    assert [again["id"] for again in claim(db)] == [job["id"]]
    assert attempts(db, job["id"]) == [(1, "lease_expired"), (2, None)]


def test_several_lost_jobs_are_recovered_at_once(db: Db) -> None:
    for _ in range(5):
        create(db)
    jobs = claim(db, 5)
    for job in jobs[:4]:
        let_lease_run_out(db, job["id"])

    recovered = call(db, "recover_jobs")

    assert [job["id"] for job in recovered] == sorted(job["id"] for job in jobs[:4])
    assert {job["status"] for job in recovered} == {"pending"}
    assert call(db, "recover_jobs") == []


def test_a_lease_that_runs_out_during_a_transaction_is_over_in_it(db: Db, connect: Connect) -> None:
    job = claimed(db)
    left = connect()

    with left.transaction():
        db.execute("update aiserv.lease set lease_expires_at = clock_timestamp()")
        recovered = call(left, "recover_jobs")

    assert [row["id"] for row in recovered] == [job["id"]]


def test_the_third_lost_lease_in_a_row_fails_the_job(db: Db) -> None:
    job = create(db)
    statuses = []

    for _ in range(3):
        claim(db)
        statuses.append(lose_lease(db, job["id"])["status"])

    assert statuses == ["pending", "pending", "failed"]
    shown = get(db, job["id"])
    assert (shown["error_category"], shown["attempt"], shown["worker_id"]) == ("lease_expired", 3, "worker-1")
    assert attempts(db, job["id"]) == [(1, "lease_expired"), (2, "lease_expired"), (3, "lease_expired")]


@pytest.mark.parametrize("ending", ["release_job", "fail_job", "retry_job"])
def test_any_other_ending_of_an_attempt_breaks_the_row(db: Db, ending: str) -> None:
    job = create(db)
    failure = {"category": "timeout", "message": "late", "retryable": True, "retry_after": "0"}
    for _ in range(2):
        claim(db)
        lose_lease(db, job["id"])
    claim(db)
    call(db, ending, job_id=job["id"], **(failure if ending == "fail_job" else {}))

    claim(db)

    assert lose_lease(db, job["id"])["status"] == "pending"


def test_a_retry_clears_the_lost_leases(db: Db) -> None:
    job = create(db)
    for _ in range(3):
        claim(db)
        lose_lease(db, job["id"])
    call(db, "retry_job", job_id=job["id"])

    claim(db)

    assert lose_lease(db, job["id"])["status"] == "pending"


def test_a_claim_that_comes_back_short_recovers_first(db: Db) -> None:
    job = claimed(db)
    let_lease_run_out(db, job["id"])

    (again,) = claim(db, worker_id="worker-2")

    assert (again["id"], again["attempt"], again["worker_id"]) == (job["id"], 2, "worker-2")


def test_a_sweep_recovers_promotes_and_says_when_to_come_again(db: Db) -> None:
    job = claimed(db)
    later = create(db, delay="1 hour")
    let_lease_run_out(db, job["id"])

    (row,) = db.execute("select aiserv.sweep() as again").fetchall()

    assert get(db, job["id"])["status"] == "pending"
    assert row["again"] == later["run_at"]
