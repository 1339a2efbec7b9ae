"""What a failure leads to: another attempt after a pause, or the end."""

from datetime import timedelta

import pytest

from tests.sql.calls import Db, attempts, call, claim, claimed, create, get, let_time_come, one, refusal


def test_a_retryable_failure_sends_the_job_back_until_there_were_max_attempts(db: Db) -> None:
    job = create(db, max_attempts=3)
    seen = []

    for attempt in (1, 2, 3):
        claim(db)
        failed = one(
            db,
            "fail_job",
            job_id=job["id"],
            attempt=attempt,
            category="timeout",
            message="late",
            retryable=True,
            retry_after="0",
        )
        seen.append((failed["status"], failed["failures"], failed["worker_id"], failed["error_category"]))

    assert seen == [
        ("pending", 1, None, "timeout"),
        ("pending", 2, None, "timeout"),
        ("failed", 3, "worker-1", "timeout"),
    ]
    assert attempts(db, job["id"]) == [(1, "retrying"), (2, "retrying"), (3, "failed")]


def test_a_failure_that_is_not_retryable_is_the_end_and_counts_as_none(db: Db) -> None:
    job = claimed(db, max_attempts=3)

    failed = one(db, "fail_job", job_id=job["id"], category="content_filter", message="no")

    assert (failed["status"], failed["failures"]) == ("failed", 0)


def test_released_and_lost_attempts_do_not_count(db: Db) -> None:
    job = claimed(db, max_attempts=1)
    call(db, "release_job", job_id=job["id"])
    (job,) = claim(db)
    call(db, "retry_job", job_id=job["id"])

    (job,) = claim(db)

    assert (job["attempt"], job["failures"]) == (3, 0)


@pytest.mark.parametrize(("failures", "longest"), [(1, 2), (2, 4), (3, 8), (9, 512), (10, 600), (90, 600)])
def test_the_backoff_doubles_up_to_ten_minutes_and_is_cut_by_up_to_half_at_random(
    db: Db, failures: int, longest: int
) -> None:
    rows = db.execute("select aiserv._backoff(%s) as pause from generate_series(1, 200)", [failures]).fetchall()

    pauses = [row["pause"].total_seconds() for row in rows]
    assert longest / 2 <= min(pauses) < longest * 0.6
    assert longest * 0.9 < max(pauses) <= longest


def test_the_next_attempt_waits_for_the_backoff_and_the_error_stays_to_be_seen(db: Db) -> None:
    job = claimed(db, max_attempts=100)

    # The pause after the first failure may be over before anybody looks; after the ninth it takes minutes.
    for failures, shortest in ((0, 1), (8, 256)):
        db.execute("update aiserv.job set failures = %s", [failures])
        failed = one(db, "fail_job", job_id=job["id"], category="timeout", message="late", retryable=True)

        pause = failed["run_at"] - failed["updated_at"]
        assert timedelta(seconds=shortest) <= pause <= timedelta(seconds=2 * shortest)
        assert shortest == 1 or claim(db) == []
        let_time_come(db, job["id"])
        assert [again["error_message"] for again in claim(db)] == ["late"]


def test_retry_after_says_when(db: Db) -> None:
    job = claimed(db)

    failed = one(
        db, "fail_job", job_id=job["id"], category="timeout", message="late", retryable=True, retry_after="1 hour"
    )

    assert failed["run_at"] - failed["updated_at"] == timedelta(hours=1)


def test_a_message_is_cut_at_10000_characters(db: Db) -> None:
    job = claimed(db)

    failed = one(db, "fail_job", job_id=job["id"], category="internal", message="ы" * 10_001)

    assert failed["error_message"] == "ы" * 10_000


@pytest.mark.parametrize("category", ["", "Timeout", "9lives", "a-b", "a" * 65, "timeout\n", None])
def test_a_category_is_a_short_lower_case_word(db: Db, category: str | None) -> None:
    job = claimed(db)

    refused = refusal(db, "fail_job", job_id=job["id"], category=category, message="")

    assert refused.sqlstate == "JV400"
    assert get(db, job["id"])["status"] == "running"
