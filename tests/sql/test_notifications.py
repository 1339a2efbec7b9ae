"""What each statement announces: the channel and the payloads, each once, and nothing for what is rolled back."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.sql.calls import (
    Connect,
    Db,
    call,
    claim,
    claimed,
    create,
    create_big,
    create_many,
    let_lease_run_out,
    let_time_come,
)

CHANNELS = ("aiserv_ready", "aiserv_scheduled", "aiserv_finished", "aiserv_cancelled")
Heard = list[tuple[str, str]]


@pytest.fixture
def heard(connect: Connect) -> Callable[[], Heard]:
    """Returns what was announced since it was last asked, without the prefix of the channels, sorted."""
    listener = connect()
    for channel in CHANNELS:
        listener.execute(f"listen {channel}".encode())

    def heard() -> Heard:
        # Notifications of transactions that have committed arrive before the answer to the next statement.
        listener.execute("select")
        found = listener.notifies(timeout=0)
        return sorted((notify.channel.removeprefix("aiserv_"), notify.payload) for notify in found)

    return heard


def test_a_new_job_announces_its_profile(db: Db, heard: Callable[[], Heard]) -> None:
    create(db)

    assert heard() == [("ready", "qwen")]


def test_a_batch_announces_each_profile_once(db: Db, heard: Callable[[], Heard]) -> None:
    create_many(db, [{"model_profile": profile, "owner_service": owner} for profile in "aabb" for owner in "xyz"])

    assert heard() == [("ready", "a"), ("ready", "b")]


def test_only_an_earlier_wake_up_of_a_queue_is_announced(db: Db, heard: Callable[[], Heard]) -> None:
    create(db, delay="2 hours")
    assert heard() == [("scheduled", "qwen")]

    create(db, delay="3 hours")
    assert heard() == []

    create(db, delay="1 hour")
    assert heard() == [("scheduled", "qwen")]


def test_nothing_is_announced_for_what_is_rolled_back_or_known_already(db: Db, heard: Callable[[], Heard]) -> None:
    create(db, idempotency_key="k")
    heard()

    with db.transaction(force_rollback=True):
        create(db)
        create(db, delay="1 hour")
    create(db, idempotency_key="k")

    assert heard() == []


def test_claims_and_heartbeats_are_silent(db: Db, heard: Callable[[], Heard]) -> None:
    create(db)
    heard()

    (job,) = claim(db)
    call(db, "heartbeat_job", job_id=job["id"])
    claim(db)

    assert heard() == []


def test_a_lease_that_could_run_out_between_two_looks_is_announced(db: Db, heard: Callable[[], Heard]) -> None:
    create(db)
    heard()

    claim(db, lease="10 seconds")

    assert heard() == [("scheduled", "qwen")]


@pytest.mark.parametrize(
    ("verb", "arguments", "expected"),
    [
        ("complete_job", {"result": "1"}, ["finished"]),
        ("fail_job", {"category": "timeout", "message": ""}, ["finished"]),
        ("fail_job", {"category": "timeout", "message": "", "retryable": True}, ["scheduled"]),
        ("fail_job", {"category": "timeout", "message": "", "retryable": True, "retry_after": "0"}, ["ready"]),
        ("release_job", {}, ["ready"]),
        ("release_job", {"delay": "1 hour"}, ["scheduled"]),
        ("retry_job", {}, ["cancelled", "ready"]),
        ("cancel_job", {}, ["cancelled", "finished"]),
    ],
)
def test_what_becomes_of_a_running_job_is_announced(
    db: Db, heard: Callable[[], Heard], verb: str, arguments: dict[str, Any], expected: list[str]
) -> None:
    job = claimed(db)
    heard()

    call(db, verb, job_id=job["id"], **arguments)

    payloads = {"finished": str(job["id"]), "cancelled": str(job["id"]), "ready": "qwen", "scheduled": "qwen"}
    assert heard() == [(channel, payloads[channel]) for channel in expected]


def test_a_cancelled_pending_job_has_no_worker_to_tell(db: Db, heard: Callable[[], Heard]) -> None:
    job = create(db)
    heard()

    call(db, "cancel_job", job_id=job["id"])
    call(db, "cancel_job", job_id=job["id"])

    assert heard() == [("finished", str(job["id"]))]


def test_a_recovered_job_is_taken_away_and_claimable(db: Db, heard: Callable[[], Heard]) -> None:
    job = claimed(db)
    let_lease_run_out(db, job["id"])
    heard()

    call(db, "recover_jobs")

    assert heard() == [("cancelled", str(job["id"])), ("ready", "qwen")]


def test_a_job_that_becomes_due_is_announced_when_somebody_moves_it(db: Db, heard: Callable[[], Heard]) -> None:
    job = create(db, delay="1 hour")
    let_time_come(db, job["id"])
    heard()

    db.execute("select aiserv.sweep()")

    assert heard() == [("ready", "qwen")]


def test_ids_travel_together_in_payloads_below_8000_bytes(db: Db, heard: Callable[[], Heard]) -> None:
    created = create_many(db, [{}] * 500)
    jobs = claim(db, 500)
    heard()

    call(db, "settle_jobs", settlements=json.dumps([{"id": str(job["id"]), "attempt": 1, "result": 1} for job in jobs]))

    payloads = [payload for channel, payload in heard() if channel == "finished"]
    assert len(payloads) == 3
    assert max(len(payload) for payload in payloads) < 8000
    assert sorted(",".join(payloads).split(",")) == sorted(str(job["id"]) for job in created)


def test_resuming_raising_a_limit_and_a_freed_slot_wake_the_workers(db: Db, heard: Callable[[], Heard]) -> None:
    call(db, "pause_queue", model_profile="qwen")
    heard()

    call(db, "resume_queue", model_profile="qwen")
    assert heard() == [("ready", "qwen")]
    call(db, "set_queue", model_profile="qwen", max_running=1)
    assert heard() == [("ready", "qwen")]

    job = claimed(db)
    heard()
    call(db, "complete_job", job_id=job["id"], result="1")
    assert heard() == [("finished", str(job["id"])), ("ready", "qwen")]


def test_a_claim_that_stopped_for_its_size_says_that_there_is_more(db: Db, heard: Callable[[], Heard]) -> None:
    for size in (33, 33, 0):
        create_big(db, size)
    heard()

    assert len(db.execute("select id from aiserv.claim_jobs(worker_id => 'w', max_jobs => 3)").fetchall()) == 2
    assert heard() == [("ready", "qwen")]


def test_a_job_due_soon_is_announced_although_an_earlier_one_was_seen_that_is_gone_when_it_commits(
    db: Db, connect: Connect, heard: Callable[[], Heard]
) -> None:
    earlier = create(db, delay="2 seconds")
    slow = connect()
    slow.execute("begin")
    create(slow, delay="4 seconds")
    call(db, "cancel_job", job_id=earlier["id"])
    heard()

    slow.execute("commit")

    assert heard() == [("scheduled", "qwen")]
