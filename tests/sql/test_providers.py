"""Providers in trouble: their queues rest for everybody, are probed by one job at a time, and no job is to blame."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from psycopg.rows import DictRow

from tests.sql.calls import (
    Connect,
    Db,
    attempts,
    call,
    claim,
    create,
    create_many,
    get,
    in_background,
    lose_lease,
    one,
    refusal,
)

TROUBLE = {"category": "provider_unavailable", "message": "refused"}


def report(db: Db, provider: object = "qwen", **said: object) -> datetime | None:
    until: datetime | None = one(db, "report_provider", provider=provider, **TROUBLE | said)["report_provider"]
    return until


def let_pause_end(db: Db) -> None:
    db.execute("update aiserv.provider set paused_until = clock_timestamp() - interval '1 second'")


def pauses(db: Db) -> dict[str, int]:
    return {row["name"]: row["pauses"] for row in call(db, "list_providers")}


def probing(db: Db) -> DictRow:
    """The job that probes a provider in trouble; others wait."""
    create_many(db, [{}, {}, {}])
    report(db)
    let_pause_end(db)
    (job,) = claim(db, 9)
    return job


def fails(db: Db, job: DictRow, **said: object) -> DictRow:
    """What a worker does whose provider is in trouble."""
    held = {"job_id": job["id"], "attempt": job["attempt"]}
    report(db, **held, **said)
    return one(db, "release_job", **held, **TROUBLE)


def test_a_queue_whose_provider_is_in_trouble_gives_nothing_to_anybody(db: Db) -> None:
    create_many(db, [{}, {"model_profile": "other"}])

    until = report(db)

    assert until
    assert until > datetime.now(UTC)
    assert [job["model_profile"] for job in claim(db, 9)] == ["other"]
    assert claim(db, 9, worker_id="worker-2", model_profiles=["qwen"]) == []


def test_after_the_pause_one_of_eight_claimers_gets_one_job(db: Db, connect: Connect) -> None:
    create_many(db, [{}] * 40)
    report(db)
    let_pause_end(db)
    connections = [connect() for _ in range(8)]

    claims = [in_background(partial(claim, other, 3, worker_id=f"w{n}")) for n, other in enumerate(connections)]
    jobs = [job for future in claims for job in future.result()]

    assert len(jobs) == 1
    assert claim(db, 9) == []
    (shown,) = call(db, "list_providers")
    assert (shown["probe_job_id"], shown["probe_worker_id"]) == (jobs[0]["id"], jobs[0]["worker_id"])


def test_a_claim_that_has_not_committed_holds_nobody_up_and_lets_no_second_probe_go(db: Db, connect: Connect) -> None:
    create_many(db, [{}, {}])
    report(db)
    let_pause_end(db)
    other = connect(options="-c statement_timeout=5s")

    with db.transaction():
        assert len(claim(db, 9)) == 1
        assert claim(other, 9) == []

    assert claim(other, 9) == []


def test_a_probe_and_the_jobs_of_other_queues_come_in_one_claim(db: Db) -> None:
    create_many(db, [{}, {}, {"model_profile": "other"}, {"model_profile": "other", "priority": 5}])
    report(db)
    let_pause_end(db)

    assert sorted(job["model_profile"] for job in claim(db, 9)) == ["other", "other", "qwen"]


def test_the_success_of_the_probe_opens_the_queue_at_once_and_wakes_everybody(db: Db, connect: Connect) -> None:
    job = probing(db)
    ears = connect()
    ears.execute("listen aiserv_ready")

    call(db, "complete_job", job_id=job["id"], attempt=job["attempt"], result="1")

    assert [heard.payload for heard in ears.notifies(timeout=5, stop_after=1)] == ["qwen"]
    assert call(db, "list_providers") == []
    assert len(claim(db, 9)) == 2


def test_the_failure_of_the_probe_pauses_longer_and_lets_no_other_go(db: Db) -> None:
    job = probing(db)

    fails(db, job)

    assert pauses(db) == {"qwen": 2}
    assert claim(db, 9) == []


def test_the_pauses_grow_to_ten_seconds_and_differ(db: Db) -> None:
    create(db)
    report(db)
    seen = []
    for _ in range(7):
        let_pause_end(db)
        (job,) = claim(db)
        before = datetime.now(UTC)
        until = report(db, job_id=job["id"], attempt=job["attempt"])
        assert until
        seen.append((until - before).total_seconds())
        call(db, "release_job", job_id=job["id"])

    assert all(most / 2 - 0.5 < pause < most + 0.5 for pause, most in zip(seen, [2, 4, 8, 10, 10, 10, 10], strict=True))
    rows = db.execute("select aiserv._provider_pause(5000, null) as pause from generate_series(1, 200)").fetchall()
    drawn = [row["pause"].total_seconds() for row in rows]
    assert 5 <= min(drawn) < 6
    assert 9 < max(drawn) <= 10


@pytest.mark.parametrize("retry_after", [timedelta(seconds=1), timedelta(minutes=20)])
def test_the_time_that_the_provider_asks_for_wins(db: Db, retry_after: timedelta) -> None:
    for _ in range(3):
        until = report(db, retry_after=retry_after)
        assert until
        assert abs(until - datetime.now(UTC) - retry_after) < timedelta(seconds=0.9)
        let_pause_end(db)


def test_a_provider_that_asks_for_no_time_is_left_alone_all_the_same(db: Db) -> None:
    until = report(db, retry_after=timedelta(0))

    assert until
    assert until > datetime.now(UTC)


def test_attempts_under_way_when_trouble_begins_count_once_but_what_they_were_told_holds(db: Db) -> None:
    create_many(db, [{}] * 5)
    jobs = claim(db, 5)

    for job in jobs[:4]:
        fails(db, job)
    fails(db, jobs[4], retry_after=timedelta(minutes=1))

    (shown,) = call(db, "list_providers")
    assert shown["pauses"] == 1
    assert shown["paused_until"] > datetime.now(UTC) + timedelta(seconds=50)


def test_a_late_attempt_does_not_end_the_probe_of_another(db: Db) -> None:
    create_many(db, [{}, {}])
    early, late = claim(db, 2)
    fails(db, early)
    let_pause_end(db)
    (probe,) = claim(db, 9)

    report(db, job_id=late["id"], attempt=late["attempt"])

    (shown,) = call(db, "list_providers")
    assert (shown["pauses"], shown["probe_job_id"]) == (1, probe["id"])
    call(db, "complete_job", job_id=late["id"], result="1")
    assert pauses(db) == {"qwen": 1}


@pytest.mark.parametrize("end", ["release", "fail", "cancel", "retry", "lose"])
def test_a_probe_that_proves_nothing_lets_another_go_at_once_and_says_so(db: Db, connect: Connect, end: str) -> None:
    job = probing(db)
    ears = connect()
    ears.execute("listen aiserv_ready")

    if end == "lose":
        lose_lease(db, job["id"])
    elif end == "fail":
        call(db, "fail_job", job_id=job["id"], category="invalid_input", message="")
    else:
        call(db, f"{end}_job", job_id=job["id"])

    assert [heard.payload for heard in ears.notifies(timeout=5, stop_after=1)] == ["qwen"]
    assert pauses(db) == {"qwen": 1}
    assert len(claim(db, 9)) == 1


def test_the_next_probe_is_another_job(db: Db) -> None:
    job = probing(db)

    fails(db, job)
    let_pause_end(db)

    (probe,) = claim(db, 9)
    assert probe["id"] != job["id"]


def test_a_job_whose_provider_is_in_trouble_waits_unharmed_and_shows_why(db: Db) -> None:
    create(db)
    (job,) = claim(db)

    shown = fails(db, job)

    assert (shown["status"], shown["failures"]) == ("pending", 0)
    assert (shown["error_category"], shown["error_message"]) == ("provider_unavailable", "refused")
    (row,) = call(db, "list_attempts", job_id=job["id"])
    assert (row["outcome"], row["error_category"]) == ("released", "provider_unavailable")
    again = one(db, "release_job", job_id=job["id"], attempt=1, **TROUBLE)
    assert (again["status"], again["attempt"]) == ("pending", 1)


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


def test_a_pause_shows_in_the_queues_and_their_settings_stay(db: Db) -> None:
    create_many(db, [{}, {"model_profile": "other"}])
    call(db, "set_queue", model_profile="qwen", max_running=7)

    until = report(db)

    rows = {(row["model_profile"], row["task_type"]): row for row in call(db, "list_queues")}
    for kind in (None, "chat"):
        shown = rows["qwen", kind]
        assert (shown["paused"], shown["paused_until"]) == (True, until)
        assert shown["pause_reason"] == "provider qwen: provider_unavailable: refused"
        assert rows["other", kind]["paused"] is False
    assert rows["qwen", None]["max_running"] == 7
    report(db, category=None)
    (shown,) = call(db, "list_queues", model_profile="qwen", task_type="chat")
    assert (shown["paused"], shown["paused_until"], shown["pause_reason"]) == (False, None, None)


def test_a_pause_by_hand_outlasts_the_end_of_the_trouble(db: Db) -> None:
    create(db)
    report(db)
    call(db, "pause_queue", model_profile="qwen", pause_reason="upgrade")
    let_pause_end(db)

    assert claim(db) == []
    (shown,) = call(db, "list_queues", model_profile="qwen", task_type=None)[:1]
    assert (shown["paused"], shown["paused_until"], shown["pause_reason"]) == (True, None, "upgrade")
    (row,) = call(db, "next_wake")
    assert row["next_wake"] is None


def test_the_backlog_leaves_out_what_waits_for_a_provider(db: Db) -> None:
    create_many(db, [{}, {"model_profile": "other"}])
    report(db)

    (row,) = call(db, "stats")

    assert row["stats"]["backlog"]["pending"] == 1


def test_the_next_wake_is_the_end_of_the_pause_if_a_job_waits_and_none_probes(db: Db) -> None:
    until = report(db)
    assert one(db, "next_wake")["next_wake"] is None
    create_many(db, [{}, {}])

    assert one(db, "next_wake")["next_wake"] == until
    assert one(db, "next_wake", model_profiles=["qwen"], task_types=["chat"])["next_wake"] == until
    assert one(db, "next_wake", model_profiles=["other"], task_types=["chat"])["next_wake"] is None
    let_pause_end(db)
    (job,) = claim(db)
    assert one(db, "next_wake")["next_wake"] == job["lease_expires_at"]


HEARD_BY = '{"whisperx": ["whisperx", "voxtral-small"]}'


def test_a_queue_goes_on_while_one_of_its_providers_is_well(db: Db) -> None:
    create_many(db, [{"model_profile": "whisperx"}] * 6)
    report(db, "whisperx")
    assert claim(db, worker_id="nobody has said that there are two") == []

    assert len(claim(db, 2, providers=HEARD_BY)) == 2
    # Now it is known, also to those who do not say.
    assert len(claim(db, 2, worker_id="worker-2")) == 2
    assert call(db, "list_queues")[0]["paused"] is False
    assert len(claim(db, worker_id="worker-3", providers='{"whisperx": ["whisperx"]}')) == 0
    report(db, "voxtral-small")
    assert claim(db, providers=HEARD_BY) == []
    assert call(db, "list_queues")[0]["paused"] is True


def test_a_job_probes_all_providers_of_its_queue_and_opens_those_that_it_does_not_report(db: Db) -> None:
    create_many(db, [{"model_profile": "whisperx"}] * 4)
    report(db, "whisperx")
    report(db, "voxtral-small")
    let_pause_end(db)
    (job,) = claim(db, 9, providers=HEARD_BY)

    report(db, "voxtral-small", job_id=job["id"], attempt=job["attempt"])
    call(db, "complete_job", job_id=job["id"], result="1")

    assert pauses(db) == {"voxtral-small": 2}
    assert len(claim(db, 9, providers=HEARD_BY)) == 3


@pytest.mark.parametrize("providers", ["[]", '{"a": "b"}', '{"a": []}', '{"a": [1]}', "null", '{"a": null}'])
def test_providers_that_make_no_sense_are_refused(db: Db, providers: str) -> None:
    assert refusal(db, "claim_jobs", worker_id="w", providers=providers).sqlstate == "JV400"
    assert refusal(db, "touch_worker", worker_id="w", providers=providers).sqlstate == "JV400"


@pytest.mark.parametrize(
    "bad", [{"provider": ""}, {"category": "No"}, {"message": None}, {"retry_after": timedelta(-1)}]
)
def test_a_report_that_makes_no_sense_is_refused(db: Db, bad: dict[str, Any]) -> None:
    refused = refusal(db, "report_provider", **{"provider": "qwen"} | TROUBLE | bad)

    assert refused.sqlstate == "JV400"
    assert (refused.diag.message_primary or "").startswith(next(iter(bad)))
