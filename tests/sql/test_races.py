"""Two connections at the same jobs: stepped, not left to luck. Pairs of transitions are in test_interleavings.py."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.calls import (
    IMPATIENT,
    Connect,
    Db,
    call,
    claim,
    claimed,
    create,
    create_many,
    get,
    in_background,
    let_lease_run_out,
    let_time_come,
    refusal,
    wait_until_blocked,
)


def race(first: Callable[[Db], Any], second: Callable[[Db], Any], db: Db, connect: Connect) -> tuple[Any, Any]:
    """What both return, or the SQLSTATE with which they refuse; `second` starts and waits before `first` commits."""
    left, right = connect(), connect()
    with left.transaction():
        answer = first(left)
        future = in_background(lambda: second(right))
        wait_until_blocked(db, right)
    try:
        return answer, future.result()
    except psycopg.Error as error:
        return answer, error.sqlstate


def doing(function: str, **arguments: object) -> Callable[[Db], Any]:
    return lambda db: [row["status"] for row in call(db, function, **arguments)]


def test_two_claims_never_wait_for_each_other_nor_share_a_job(db: Db, connect: Connect) -> None:
    create_many(db, [{}] * 5)
    left, right = connect(), connect(options=IMPATIENT)

    with left.transaction():
        first = claim(left, 3)
        second = claim(right, 3, worker_id="worker-2")
    third = claim(db, 3)

    ids = [[job["id"] for job in jobs] for jobs in (first, second, third)]
    assert [len(group) for group in ids] == [3, 2, 0]
    assert not set(ids[0]) & set(ids[1])


def test_a_claim_locks_only_what_it_takes(db: Db, connect: Connect) -> None:
    for number in range(10):
        create(db, owner_service=f"owner-{number}", task_type=f"type-{number % 3}")
    connections = [connect(options=IMPATIENT) for _ in range(10)]

    for connection in connections:
        connection.execute("begin")
    claims = [claim(connection, worker_id="w") for connection in connections]

    assert len({job["id"] for jobs in claims for job in jobs}) == 10
    assert claim(db) == []


def test_a_claim_finds_what_lies_behind_the_jobs_that_others_hold(db: Db, connect: Connect) -> None:
    create_many(db, [{}] * 40)
    left, right = connect(), connect(options=IMPATIENT)

    with left.transaction():
        held = claim(left, 39)
        (free,) = claim(right, worker_id="worker-2")

    assert free["id"] not in {job["id"] for job in held}


def test_a_claim_finds_the_owners_behind_those_whose_jobs_others_hold(db: Db, connect: Connect) -> None:
    create_many(db, [{"owner_service": f"owner-{number:02}"} for number in range(40)])
    left, right = connect(), connect(options=IMPATIENT)

    with left.transaction():
        claim(left, 39)
        (free,) = claim(right, worker_id="worker-2")

    assert free["owner_service"] == "owner-39"


def test_a_claim_passes_by_a_job_that_is_being_cancelled(db: Db, connect: Connect) -> None:
    job = create(db)
    left = connect()

    with left.transaction():
        call(left, "cancel_job", job_id=job["id"])
        assert claim(db) == []

    assert get(db, job["id"])["status"] == "cancelled"


@pytest.mark.parametrize(("verb", "helper"), [("retry_job", "_retry"), ("cancel_job", "_cancel")])
def test_who_comes_too_late_ten_times_is_told_to_call_again(db: Db, verb: str, helper: str) -> None:
    job = claimed(db)
    # Too late each time: what it looked for had moved on, and when it looks again the job runs once more.
    (definition,) = db.execute("select pg_get_functiondef(%s::regproc) as it", [f"aiserv.{helper}"]).fetchall()
    head, _, _ = definition["it"].partition("AS $function$")
    db.execute(f"{head} AS $function$ begin return '{{}}'; end; $function$".encode())

    refused = refusal(db, verb, job_id=job["id"])

    assert (refused.sqlstate, refused.diag.message_hint) == ("40001", "Call again.")


@pytest.mark.parametrize("moved", ["release_job", "fail_job"])
def test_a_cancel_finds_a_job_that_hops_back_to_pending(db: Db, connect: Connect, moved: str) -> None:
    job = claimed(db)
    failure = {"category": "timeout", "message": "", "retryable": True}

    _, cancelled = race(
        doing(moved, job_id=job["id"], **(failure if moved == "fail_job" else {})),
        doing("cancel_jobs", id=[job["id"]]),
        db,
        connect,
    )

    assert cancelled == ["cancelled"]
    assert get(db, job["id"])["status"] == "cancelled"


def test_a_cancel_of_pending_jobs_leaves_one_alone_that_was_claimed_meanwhile(db: Db, connect: Connect) -> None:
    job = create(db)

    _, cancelled = race(claim, doing("cancel_jobs", status=["pending"], match_all=True), db, connect)

    assert cancelled == []
    assert get(db, job["id"])["status"] == "running"


def test_a_claim_waits_for_nobody_who_serves_an_owner_for_the_first_time(db: Db, connect: Connect) -> None:
    for owner in ("a", "b"):
        create_many(db, [{"owner_service": owner}, {"owner_service": owner}])
    holder, impatient = connect(), connect(options=IMPATIENT)

    with holder.transaction():
        held = call(holder, "claim_jobs", worker_id="holder", max_jobs=2)
        taken = call(impatient, "claim_jobs", worker_id="other", max_jobs=2)

    assert [job["owner_service"] for job in (*held, *taken)] == ["a", "b", "a", "b"]


def test_a_cancel_of_scheduled_jobs_waits_for_the_claim_that_promotes_them(db: Db, connect: Connect) -> None:
    jobs = create_many(db, [{"delay": 3600}, {"delay": 3600}])
    for job in jobs:
        let_time_come(db, job["id"])

    _, cancelled = race(claim, doing("cancel_jobs", match_all=True), db, connect)

    assert cancelled == ["cancelled", "cancelled"]


def test_two_batches_with_the_same_keys_in_opposite_order_make_each_job_once(db: Db, connect: Connect) -> None:
    keys = [{"idempotency_key": key} for key in "amz"]
    holder, left, right = connect(), connect(), connect()

    # Both have to wait for the key in the middle, and neither may hold by then what the other wants next.
    with holder.transaction():
        create_many(holder, keys[1:2])
        first = in_background(lambda: create_many(left, keys))
        wait_until_blocked(db, left)
        second = in_background(lambda: create_many(right, keys[::-1]))
        wait_until_blocked(db, right)

    assert first.result() == second.result()[::-1]
    assert len(call(db, "list_jobs")) == 3


def test_settling_many_and_cancelling_them_at_once_do_not_deadlock(db: Db, connect: Connect) -> None:
    create_many(db, [{}] * 6)
    jobs = claim(db, 6)
    settlements = [
        {"id": str(job["id"]), "attempt": 1} | ({"result": 1} if n >= 3 else {"category": "timeout", "message": ""})
        for n, job in enumerate(jobs)
    ]
    left = connect()

    with left.transaction():
        call(left, "heartbeat_job", job_id=jobs[0]["id"])
        right, third = connect(), connect()
        settled = in_background(lambda: call(right, "settle_jobs", settlements=json.dumps(settlements)))
        wait_until_blocked(db, right)
        cancelled = in_background(lambda: call(third, "cancel_jobs", match_all=True))
        wait_until_blocked(db, third)

    assert [row["code"] for row in settled.result()] == [None] * 6
    assert cancelled.result() == []


def test_a_failure_and_a_completion_in_one_call_do_not_deadlock_with_a_cancel(db: Db, connect: Connect) -> None:
    create_many(db, [{}] * 3)
    failed, between, completed = claim(db, 3)
    settlements = [
        {"id": str(completed["id"]), "attempt": 1, "result": 1},
        {"id": str(failed["id"]), "attempt": 1, "category": "timeout", "message": ""},
    ]
    holder, canceller, settler = connect(), connect(), connect()

    with holder.transaction():
        call(holder, "heartbeat_job", job_id=between["id"])
        cancelled = in_background(lambda: call(canceller, "cancel_jobs", match_all=True))
        wait_until_blocked(db, canceller)
        settled = in_background(lambda: call(settler, "settle_jobs", settlements=json.dumps(settlements)))
        wait_until_blocked(db, settler)

    assert [row["status"] for row in cancelled.result()] == ["cancelled"] * 3
    assert [row["code"] for row in settled.result()] == ["JL409", "JL409"]


def test_a_lease_that_somebody_holds_does_not_keep_the_others_from_being_renewed(db: Db, connect: Connect) -> None:
    create_many(db, [{}] * 3)
    jobs = claim(db, 3)
    holder, impatient = connect(), connect(options=IMPATIENT)

    with holder.transaction():
        call(holder, "cancel_job", job_id=jobs[1]["id"])
        renewed = call(
            impatient, "heartbeat_jobs", job_ids=[job["id"] for job in jobs], attempts=[1, 1, 1], lease="1 hour"
        )

    # Not cancelled yet: it is still held.
    assert [job["id"] for job in renewed] == [job["id"] for job in jobs]
    longer = [now["lease_expires_at"] > job["lease_expires_at"] for now, job in zip(renewed, jobs, strict=True)]
    assert longer == [True, False, True]


def test_a_retry_and_a_prune_of_the_same_job_do_not_deadlock(db: Db, connect: Connect) -> None:
    job = claimed(db)
    call(db, "fail_job", job_id=job["id"], category="timeout", message="")
    left, impatient = connect(), connect(options=IMPATIENT)

    with left.transaction():
        call(left, "retry_job", job_id=job["id"])
        (pruned,) = impatient.execute("select aiserv.prune_jobs(retention => '1 microsecond') as jobs").fetchall()

    assert pruned["jobs"] == 0
    assert get(db, job["id"])["status"] == "pending"


def test_a_claim_repeated_while_the_first_still_runs_waits_for_its_jobs(db: Db, connect: Connect) -> None:
    create_many(db, [{}] * 4)

    first, second = race(
        lambda one: claim(one, 2, claim_id="c"), lambda other: claim(other, 2, claim_id="c"), db, connect
    )

    assert [(job["id"], job["attempt"]) for job in first] == [(job["id"], job["attempt"]) for job in second]


def test_a_pause_waits_for_the_claim_that_holds_the_queue(db: Db, connect: Connect) -> None:
    create_many(db, [{}] * 2)
    call(db, "set_queue", model_profile="qwen", max_running=5)

    running, _ = race(claim, lambda other: call(other, "pause_queue", model_profile="qwen"), db, connect)

    assert len(running) == 1
    assert claim(db) == []


def test_a_claim_waits_for_a_pause_and_then_gets_nothing(db: Db, connect: Connect) -> None:
    create(db)
    call(db, "set_queue", model_profile="qwen", max_running=5)

    _, running = race(lambda one: call(one, "pause_queue", model_profile="qwen"), claim, db, connect)

    assert running == []


def test_a_change_of_a_known_version_and_a_claim_do_not_deadlock(db: Db, connect: Connect) -> None:
    create(db)
    call(db, "set_queue", model_profile="qwen", max_running=5)
    version = db.execute("select aiserv.queue_version(queue) as it from aiserv.queue as queue").fetchall()[0]["it"]

    changer, claimer = connect(), connect()

    with changer.transaction():
        changer.execute("select aiserv.check_queue_version('qwen', null, array[%s])", [version])
        claimed = in_background(lambda: claim(claimer))
        wait_until_blocked(db, claimer)
        call(changer, "set_queue", model_profile="qwen", max_running=0)

    assert claimed.result() == []


def test_of_two_who_give_a_queue_its_first_settings_only_one_finds_none(db: Db, connect: Connect) -> None:
    def set_first(one: Db) -> None:
        one.execute("select aiserv.check_queue_version('qwen', null, '{0}')")
        call(one, "set_queue", model_profile="qwen", max_running=5)

    assert race(set_first, set_first, db, connect) == (None, "JP412")


def test_a_second_look_of_a_claim_takes_no_lock_that_a_change_of_settings_holds(db: Db, connect: Connect) -> None:
    call(db, "set_queue", model_profile="other", max_running=5)
    lost = claimed(db, model_profile="other")
    create(db)
    claimer, changer = connect(), connect()

    with claimer.transaction():
        claim(claimer)
        changed = in_background(lambda: call(changer, "set_queue", model_profile="other", max_running=6))
        wait_until_blocked(db, changer)
        let_lease_run_out(db, lost["id"])
        # The first look finds nothing, and what it then recovers is of a profile that had nothing pending.
        (again,) = claim(claimer)

    assert again["id"] == lost["id"]
    assert changed.result()[0]["max_running"] == 6


def test_a_transaction_with_an_old_snapshot_fails_and_overwrites_nothing(db: Db, connect: Connect) -> None:
    job = claimed(db)
    left = connect()

    left.execute("begin isolation level repeatable read")
    get(left, job["id"])
    call(db, "heartbeat_job", job_id=job["id"])
    refused = refusal(left, "complete_job", job_id=job["id"], result="1")

    assert refused.sqlstate == "40001"
    assert get(db, job["id"])["status"] == "running"


def test_times_are_those_of_the_moment_also_in_a_long_transaction(db: Db, connect: Connect) -> None:
    left = connect()

    with left.transaction():
        (row,) = left.execute("select now() as began").fetchall()
        create(db)
        (job,) = claim(left, lease="1 minute")

    assert job["started_at"] >= job["created_at"] > row["began"]
    assert job["lease_expires_at"] - job["started_at"] == timedelta(minutes=1)
