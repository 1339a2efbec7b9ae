"""Jobs for later: not before their time, and announced in time."""

from datetime import UTC, datetime, timedelta

from tests.sql.calls import (
    PATIENCE,
    Db,
    call,
    claim,
    claimed,
    create,
    create_many,
    get,
    let_time_come,
    one,
    refusal,
)


def next_wake(db: Db, **arguments: list[str]) -> datetime | None:
    (row,) = call(db, "next_wake", **arguments)
    wake: datetime | None = row["next_wake"]
    return wake


def test_a_job_is_not_claimable_before_its_run_at(db: Db) -> None:
    job = create(db, run_at=datetime.now(UTC) + timedelta(minutes=1))

    assert job["status"] == "pending"
    assert claim(db) == []
    let_time_come(db, job["id"])
    assert [due["id"] for due in claim(db)] == [job["id"]]


def test_a_delay_counts_from_the_creation(db: Db) -> None:
    job = create(db, delay=timedelta(days=366))

    assert job["run_at"] - job["created_at"] == timedelta(days=366)


def test_a_run_at_in_the_past_is_kept_and_due(db: Db) -> None:
    moment = datetime(2020, 1, 1, tzinfo=UTC)

    job = create(db, run_at=moment)

    assert job["run_at"] == moment
    assert len(claim(db)) == 1


def test_run_at_and_delay_exclude_each_other_and_have_limits(db: Db) -> None:
    body = {"owner_service": "a", "task_type": "b", "model_profile": "c"}

    for bad in (
        {"run_at": "2030-01-01Z", "delay": "1 s"},
        {"delay": "367 days"},
        {"delay": "-1 s"},
        {"run_at": "infinity"},
    ):
        assert refusal(db, "create_job", **body, **bad).sqlstate == "JV400"


def test_durations_of_a_batch_may_be_written_as_in_go(db: Db) -> None:
    jobs = create_many(db, [{"delay": "1h30m"}, {"delay": "300ms"}, {"delay": "1.5h"}, {"delay": 90}, {"delay": "5m"}])

    delays = [(job["run_at"] - job["created_at"]).total_seconds() for job in jobs]
    assert delays == [5400, 0.3, 5400, 90, 300]


def test_a_claim_promotes_thousands_of_due_jobs_in_pieces(db: Db) -> None:
    create_many(db, [{"delay": 3600}] * 1500)
    with db.transaction():
        db.execute("update aiserv.scheduled set run_at = run_at - interval '2 hours'")
        db.execute("update aiserv.job set run_at = run_at - interval '2 hours'")

    taken, left = [], []
    for _ in range(3):
        taken.append(len(claim(db, 1000)))
        left.append(len(db.execute("select from aiserv.scheduled").fetchall()))

    assert taken == [1000, 500, 0]
    assert left == [500, 0, 0]


def test_the_next_wake_is_the_earliest_run_at_of_the_queues_asked_for(db: Db) -> None:
    soon = create(db, delay="1 minute", task_type="chat")
    later = create(db, delay="2 minutes", task_type="other")

    assert next_wake(db) == soon["run_at"]
    assert next_wake(db, task_types=["other"], model_profiles=["qwen"]) == later["run_at"]
    assert next_wake(db, task_types=["other"]) == later["run_at"]
    assert next_wake(db, model_profiles=["gpt"]) is None


def test_the_next_wake_is_no_later_than_the_end_of_a_lease(db: Db) -> None:
    job = claimed(db)

    assert next_wake(db, task_types=["nothing"], model_profiles=["none"]) == job["lease_expires_at"]


def test_the_next_wake_is_no_later_than_the_end_of_a_pause(db: Db) -> None:
    until = datetime.now(UTC) + timedelta(minutes=3)
    create(db)
    call(db, "pause_queue", model_profile="qwen", paused_until=until)

    assert next_wake(db) == until


def test_there_is_no_wake_when_nothing_is_to_come(db: Db) -> None:
    create(db)

    assert next_wake(db) is None


def test_seconds_until_is_by_the_clock_of_the_server(db: Db) -> None:
    (row,) = db.execute(
        """
        select
            aiserv.seconds_until(clock_timestamp() + interval '90 seconds') as ahead,
            aiserv.seconds_until(clock_timestamp() - interval '90 seconds') as past,
            aiserv.seconds_until(null) as never
        """
    ).fetchall()

    assert 90 - PATIENCE < row["ahead"] <= 90
    assert -90 - PATIENCE < row["past"] <= -90
    assert row["never"] is None


def test_cancel_and_retry_find_scheduled_jobs(db: Db) -> None:
    job = create(db, delay="1 hour")

    assert one(db, "cancel_job", job_id=job["id"])["status"] == "cancelled"
    let_time_come(db, create(db, delay="1 hour")["id"])
    assert len(claim(db, 10)) == 1
    assert get(db, job["id"])["run_at"] == job["run_at"]
