"""A clock that is set back by an hour: everything that was written before lies in the future, and holds up nobody."""

from datetime import timedelta
from typing import Any

import pytest

from tests.sql.calls import WORKER, Db, call, claim, claimed, create, create_many, get
from tests.sql.trouble import pauses, report

# What was written before, but for what callers have said.
WRITTEN = {
    "worker": ["last_seen_at"],
    "lease": ["lease_expires_at", "started_at", "updated_at"],
    "provider": ["since", "paused_until"],
    "turn": ["served_at"],
    "queue_setting": ["refilled_at"],
}


def set_clock_back(db: Db) -> None:
    """By an hour, as those see it who have written something."""
    for table, columns in WRITTEN.items():
        changes = ", ".join(f"{column} = {column} + interval '1 hour'" for column in columns)
        db.execute(f"update aiserv.{table} set {changes}".encode())


@pytest.mark.parametrize(
    ("function", "arguments"), [("sweep", {}), ("claim_work", WORKER)], ids=["sweep", "claim_work"]
)
def test_a_lease_of_a_dead_worker_begins_anew(db: Db, function: str, arguments: dict[str, Any]) -> None:
    create(db)
    (job,) = claim(db, lease="1 minute")
    set_clock_back(db)

    call(db, function, **arguments)

    (row,) = db.execute("select lease_expires_at - clock_timestamp() as left from aiserv.lease").fetchall()
    assert row["left"] <= timedelta(minutes=1)
    assert get(db, job["id"])["attempt"] == job["attempt"]


@pytest.mark.parametrize("renewal", ["heartbeat_job", "heartbeat_jobs", "claim_jobs"])
def test_a_lease_that_is_renewed_before_the_sweep_begins_anew_too(db: Db, renewal: str) -> None:
    create(db)
    (job,) = claim(db, lease="1 minute", claim_id="claim-1")
    set_clock_back(db)
    renew = {
        "heartbeat_job": {"job_id": job["id"]},
        "heartbeat_jobs": {"job_ids": [job["id"]], "attempts": [1]},
        "claim_jobs": {"worker_id": "worker-1", "claim_id": "claim-1"},
    }

    call(db, renewal, **renew[renewal])

    (row,) = db.execute("select lease_expires_at - clock_timestamp() as left from aiserv.lease").fetchall()
    assert timedelta(0) < row["left"] <= timedelta(minutes=1)


def test_a_worker_that_says_something_new_does_not_hide_that_the_clock_was_set_back(db: Db) -> None:
    create_many(db, [{}] * 2)
    claim(db, lease="1 minute")
    set_clock_back(db)
    claim(db, slots=3, lease="1 minute")

    db.execute("select aiserv.sweep()")

    rows = db.execute("select lease_expires_at - clock_timestamp() as left from aiserv.lease").fetchall()
    assert [row["left"] <= timedelta(minutes=1) for row in rows] == [True, True]


def test_a_provider_is_probed_after_its_pause_and_not_after_the_hour(db: Db) -> None:
    create(db)
    claim(db, 0)
    report(db, retry_after="1 second")
    set_clock_back(db)
    assert claim(db) == []

    db.execute("select aiserv.sweep()")

    (provider,) = db.execute("select name, paused_until - clock_timestamp() as left from aiserv.providers").fetchall()
    assert provider["left"] <= timedelta(minutes=2)
    assert pauses(db) == {"qwen": 1}


def test_owners_served_before_take_turns_with_one_that_was_not(db: Db) -> None:
    create_many(db, [{"owner_service": owner} for owner in "ab" for _ in range(9)])
    claim(db, 2)
    set_clock_back(db)
    create_many(db, [{"owner_service": "c"}] * 9)

    db.execute("select aiserv.sweep()")
    owners = [claim(db)[0]["owner_service"] for _ in range(6)]

    assert sorted(owners) == ["a", "a", "b", "b", "c", "c"]


def test_the_worker_that_said_so_is_seen_again(db: Db) -> None:
    claimed(db)
    set_clock_back(db)

    db.execute("select aiserv.sweep()")

    (row,) = db.execute("select last_seen_at <= clock_timestamp() as seen from aiserv.worker").fetchall()
    assert row["seen"]


@pytest.mark.parametrize("limit", [{"requests_per_minute": 1000}, {"tokens_per_minute": 100_000}])
def test_a_rate_does_not_give_back_what_it_has_given(db: Db, limit: dict[str, int]) -> None:
    create_many(db, [{}] * 3)
    call(db, "set_queue", model_profile="qwen", **limit)
    claim(db)
    set_clock_back(db)

    assert len(claim(db, 2)) == 2


def test_clocks_that_go_on_change_nothing(db: Db) -> None:
    job = claimed(db)
    report(db)
    until = db.execute("table aiserv.providers").fetchall()[0]["paused_until"]

    db.execute("select aiserv.sweep()")

    assert get(db, job["id"])["lease_expires_at"] == job["lease_expires_at"]
    assert db.execute("table aiserv.providers").fetchall()[0]["paused_until"] == until
