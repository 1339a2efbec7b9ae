"""How long a job waits for a provider in trouble, and that it is not to blame."""

from datetime import UTC, datetime, timedelta

import pytest
from psycopg.rows import DictRow

from tests.sql.calls import (
    Db,
    attempts,
    call,
    claim,
    create,
    get,
    lose_lease,
    one,
    refusal,
)
from tests.sql.trouble import TROUBLE, let_pause_end


def past(db: Db, ago: timedelta) -> None:
    db.execute("update aiserv.job set first_claim_at = first_claim_at - %s", [ago])
    db.execute("update aiserv.lease set started_at = started_at - %s", [ago])


def tried(db: Db, **said: object) -> DictRow:
    """The job, claimed and released with an hour of patience."""
    let_pause_end(db)
    (job,) = claim(db)
    return one(
        db, "release_job", job_id=job["id"], attempt=job["attempt"], patience=timedelta(hours=1), **TROUBLE | said
    )


def test_when_patience_is_over_since_the_first_claim_the_job_fails_with_the_trouble(db: Db) -> None:
    job = create(db)
    assert tried(db)["status"] == "pending"
    past(db, timedelta(minutes=59))
    assert tried(db)["status"] == "pending"
    past(db, timedelta(minutes=2))

    failed = tried(db, category="rate_limited", message="later")

    assert (failed["status"], failed["failures"], failed["error_category"]) == ("failed", 0, "rate_limited")
    assert attempts(db, job["id"]) == [(1, "released"), (2, "released"), (3, "failed")]
    again = one(db, "release_job", job_id=job["id"], attempt=3, category="rate_limited", message="later")
    assert again["status"] == "failed"
    assert refusal(db, "release_job", job_id=job["id"], attempt=2, **TROUBLE).sqlstate == "JL409"


def test_the_time_in_the_queue_before_the_first_claim_costs_no_patience(db: Db) -> None:
    create(db, run_at=datetime.now(UTC) - timedelta(days=1))

    assert tried(db)["status"] == "pending"


@pytest.mark.parametrize("end", ["lose", "fail"])
def test_patience_counts_from_the_first_claim_however_that_attempt_ended(db: Db, end: str) -> None:
    create(db)
    (job,) = claim(db)
    past(db, timedelta(minutes=61))
    if end == "lose":
        lose_lease(db, job["id"])
    else:
        call(db, "fail_job", job_id=job["id"], category="timeout", message="", retryable=True, retry_after=timedelta(0))

    assert tried(db)["status"] == "failed"


@pytest.mark.parametrize("running", [True, False])
def test_a_retry_gives_new_patience(db: Db, running: bool) -> None:  # noqa: FBT001 - one of two
    job = create(db)
    tried(db)
    past(db, timedelta(minutes=61))
    if running:
        claim(db)
    else:
        assert tried(db)["status"] == "failed"

    call(db, "retry_job", job_id=job["id"])

    assert get(db, job["id"])["error_category"] is None
    assert tried(db)["status"] == "pending"
