"""The numbers are exact: equal to a count of the rows, whatever happened, folded or not."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.rows import DictRow

from tests.sql.calls import Db, call, claim, create_many, get, in_state, let_lease_run_out, let_time_come


def stats(db: Db, **arguments: object) -> dict[str, Any]:
    (row,) = call(db, "stats", **arguments)
    numbers: dict[str, Any] = row["stats"]
    return numbers


def counted(db: Db) -> dict[str, int]:
    (row,) = db.execute(
        """
        select
            count(*) filter (where status = 'pending') as pending,
            count(*) filter (where status = 'pending' and run_at > clock_timestamp()) as scheduled,
            count(*) filter (where status = 'running') as running,
            count(*) filter (where status = 'completed') as completed,
            count(*) filter (where status = 'failed') as failed,
            count(*) filter (where status = 'cancelled') as cancelled,
            count(*) as total
        from aiserv.jobs
        """
    ).fetchall()
    return dict(row)


def counted_groups(db: Db) -> dict[tuple[str, str], tuple[int, ...]]:
    rows = db.execute(
        """
        select
            owner_service, task_type,
            array[count(*) filter (where status = 'pending'), count(*) filter (where status = 'running'),
            count(*) filter (where status = 'completed'), count(*) filter (where status = 'failed'),
            count(*) filter (where status = 'cancelled')] as counts
        from aiserv.jobs group by 1, 2
        """
    ).fetchall()
    return {(row["owner_service"], row["task_type"]): tuple(row["counts"]) for row in rows}


def step(db: Db, chance: random.Random) -> None:
    """One transition of one or several jobs, picked at random; some are refused by design."""
    rows = db.execute("select id, status, attempt, run_at > now() as later from aiserv.jobs order by id").fetchall()
    running = [row for row in rows if row["status"] == "running"]
    action = chance.choice(
        ["create", "create", "claim", "claim", "settle", "fail", "release", "cancel", "retry", "lose", "due", "prune"]
    )
    if action == "create":
        jobs = [
            {
                "owner_service": chance.choice("ab"),
                "task_type": chance.choice("xy"),
                "delay": chance.choice([0, 0, 3600]),
            }
            for _ in range(chance.randint(1, 4))
        ]
        create_many(db, jobs)
    elif action == "claim":
        claim(db, chance.randint(1, 4))
    elif action == "cancel" and rows:
        call(db, "cancel_jobs", id=[chance.choice(rows)["id"]])
    elif action == "retry":
        call(db, "retry_jobs", match_all=True, max_jobs=2)
    elif action == "due" and (later := [row for row in rows if row["later"] and row["status"] == "pending"]):
        let_time_come(db, chance.choice(later)["id"])
    elif action == "prune" and chance.random() < 0.3:
        db.execute("select aiserv.prune_jobs(retention => '1 microsecond', max_jobs => 2)")
    elif running:
        end(db, chance, action, running)


def end(db: Db, chance: random.Random, action: str, running: list[DictRow]) -> None:
    """One way in which attempts end."""
    job_id = chance.choice(running)["id"]
    if action == "settle":
        items = [{"id": str(row["id"]), "attempt": row["attempt"], "result": 1} for row in running[:2]]
        call(db, "settle_jobs", settlements=json.dumps(items))
    elif action == "fail":
        category, retryable = chance.choice(["timeout", "internal"]), chance.random() < 0.5
        # Not due between two looks: the backoff is but seconds.
        call(db, "fail_job", job_id=job_id, category=category, message="", retryable=retryable, retry_after="1 hour")
    elif action == "release":
        call(db, "release_job", job_id=job_id)
    elif action == "lose":
        let_lease_run_out(db, job_id)
        call(db, "recover_jobs")


@pytest.mark.parametrize("seed", range(6))
def test_the_numbers_equal_a_count_after_any_history_folded_or_not(db: Db, seed: int) -> None:
    chance = random.Random(seed)  # no secret

    for number in range(60):
        step(db, chance)
        if number % 20 == 19:
            db.execute("select aiserv._fold()")
        if number % 5 == 4:
            numbers = stats(db)
            assert numbers["queue"] == counted(db)
            groups = {
                (row["owner_service"], row["task_type"]): tuple(
                    row[name] for name in ("pending", "running", "completed", "failed", "cancelled")
                )
                for row in numbers["groups"]
            }
            assert groups == counted_groups(db)
            errors = db.execute(
                "select error_category, count(*) from aiserv.jobs where status = 'failed' group by 1"
            ).fetchall()
            assert numbers["errors"] == {row["error_category"]: row["count"] for row in errors}
            since = stats(db, since="2020-01-01Z")
            assert since["queue"] == numbers["queue"]
            assert since["errors"] == numbers["errors"]


def test_filters_apply_to_all_parts(db: Db) -> None:
    create_many(db, [{"owner_service": owner, "task_type": kind} for owner in "ab" for kind in "xy"])
    for job in claim(db, 2, task_types=["x"]):
        call(db, "fail_job", job_id=job["id"], category=f"of_{job['owner_service']}", message="")

    numbers = stats(db, owner_service="a")

    assert (numbers["queue"]["pending"], numbers["queue"]["failed"], numbers["queue"]["total"]) == (1, 1, 2)
    assert numbers["errors"] == {"of_a": 1}
    assert {group["owner_service"] for group in numbers["groups"]} == {"a"}
    assert numbers["backlog"]["pending"] == 1
    assert numbers["unserved"] == [{"task_type": "y", "model_profile": "qwen", "pending": 1}]
    assert stats(db, task_type="y", model_profile="qwen")["queue"]["total"] == 2
    assert stats(db, model_profile="none")["groups"] == []


def test_since_counts_only_what_finished_since_then(db: Db) -> None:
    in_state(db, "completed")
    in_state(db, "failed")
    in_state(db, "pending")

    future = stats(db, since="2100-01-01Z")

    assert (future["queue"]["completed"], future["queue"]["failed"], future["queue"]["pending"]) == (0, 0, 1)
    assert future["errors"] == {}


@pytest.mark.parametrize("is_folded", [False, True])
def test_since_counts_by_the_minute_and_leaves_out_what_finished_before(db: Db, *, is_folded: bool) -> None:
    for state in ("completed", "failed", "cancelled"):
        in_state(db, state)
    db.execute("update aiserv.delta set minute = minute - interval '2 hours'")
    ends = [get(db, in_state(db, state))["finished_at"] for state in ("completed", "failed", "cancelled")]
    if is_folded:
        db.execute("select aiserv._fold()")

    def finished(since: datetime) -> tuple[int, ...]:
        numbers = stats(db, since=since)
        assert sum(numbers["errors"].values()) == numbers["queue"]["failed"]
        return tuple(numbers["queue"][name] for name in ("completed", "failed", "cancelled"))

    assert finished(ends[0].replace(second=59)) == (1, 1, 1)
    assert finished(ends[0] - timedelta(hours=3)) == (2, 2, 2)
    assert finished(ends[-1] + timedelta(minutes=1)) == (0, 0, 0)


def test_a_group_says_how_long_its_oldest_due_job_waits(db: Db) -> None:
    hour_ago = str(datetime.now(UTC) - timedelta(hours=1))
    create_many(db, [{"task_type": "a", "run_at": hour_ago}, {"task_type": "a"}, {"task_type": "b"}])
    create_many(db, [{"task_type": "c", "delay": 60}])

    oldest = {group["task_type"]: group["oldest_pending_seconds"] for group in stats(db)["groups"]}

    assert oldest["a"] == pytest.approx(3600, abs=60)
    assert 0 <= oldest["b"] < 60
    assert oldest["c"] is None


def test_the_backlog_is_what_is_due_in_queues_that_are_not_paused(db: Db) -> None:
    create_many(db, [{}, {}, {"model_profile": "paused"}, {"delay": 60}])
    call(db, "pause_queue", model_profile="paused")

    backlog = stats(db)["backlog"]

    assert backlog["pending"] == 2
    assert 0 <= backlog["oldest_pending_seconds"] < 60
    assert backlog["drain_seconds"] is None


def test_drain_seconds_follow_the_pace_of_the_last_ten_minutes(db: Db) -> None:
    create_many(db, [{}] * 6)
    for job in claim(db, 2):
        call(db, "complete_job", job_id=job["id"], result="1")

    assert stats(db)["backlog"]["drain_seconds"] == pytest.approx(1200)


def test_unserved_is_work_that_no_live_worker_takes(db: Db) -> None:
    create_many(db, [{"task_type": "a"}, {"task_type": "b"}, {"task_type": "b"}])
    claim(db, 0, task_types=["a"])

    assert stats(db)["unserved"] == [{"task_type": "b", "model_profile": "qwen", "pending": 2}]
    db.execute("update aiserv.worker set last_seen_at = last_seen_at - interval '80 seconds'")
    assert len(stats(db)["unserved"]) == 2
    claim(db, 0, queues='{"qwen": ["b"]}')
    assert [work["task_type"] for work in stats(db)["unserved"]] == ["a"]


def test_a_worker_of_one_owner_serves_no_other(db: Db) -> None:
    create_many(db, [{"owner_service": "a"}, {"owner_service": "b"}])
    claim(db, 0, owner_service="a")
    claim(db, 0, owner_service="c", task_types=["chat"])

    assert [work["pending"] for work in stats(db)["unserved"]] == [1]
    claim(db, 0, owner_service="b")
    assert stats(db)["unserved"] == []
    assert {row["owner_service"] for row in call(db, "list_workers")} == {"a", "b", "c"}
    assert [row["owner_service"] for row in call(db, "list_workers", owner_service="a")] == ["a"]


def test_empty_tables_have_numbers_too(db: Db) -> None:
    numbers = stats(db)

    assert set(numbers) == {"queue", "errors", "groups", "backlog", "unserved", "generated_at"}
    assert set(numbers["queue"].values()) == {0}
    assert numbers["backlog"] == {"pending": 0, "oldest_pending_seconds": None, "drain_seconds": None}
