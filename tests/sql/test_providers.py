"""Providers in trouble: their queues rest for everybody."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from tests.sql.calls import (
    PATIENCE,
    Connect,
    Db,
    call,
    claim,
    create,
    create_many,
    in_background,
    one,
    refusal,
    wait_until_blocked,
)
from tests.sql.trouble import HEARD_BY, TROUBLE, fails, let_pause_end, report


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
    (shown,) = db.execute("table aiserv.providers").fetchall()
    assert (shown["probe_job_id"], shown["probe_worker_id"]) == (jobs[0]["id"], jobs[0]["worker_id"])


def test_the_pauses_grow_to_ten_seconds_and_differ(db: Db) -> None:
    create(db)
    report(db)
    for most in (timedelta(seconds=s) for s in (2, 4, 8, 10, 10, 10, 10)):
        let_pause_end(db)
        (job,) = claim(db)
        before = datetime.now(UTC)
        until = report(db, job_id=job["id"], attempt=job["attempt"], retry_after=None)
        assert until
        assert before + most / 2 <= until <= datetime.now(UTC) + most
        call(db, "release_job", job_id=job["id"])

    rows = db.execute("select aiserv._provider_pause(5000, null) as pause from generate_series(1, 200)").fetchall()
    drawn = [row["pause"].total_seconds() for row in rows]
    assert 5 <= min(drawn) < 6
    assert 9 < max(drawn) <= 10


def test_a_claim_that_waits_for_the_settings_of_its_queue_sees_trouble_that_comes_meanwhile(
    db: Db, connect: Connect
) -> None:
    create_many(db, [{}] * 3)
    call(db, "set_queue", model_profile="qwen", max_running=9)
    first, second = connect(), connect()

    with first.transaction():
        claim(first)
        claimed = in_background(lambda: claim(second, 2, worker_id="worker-2"))
        wait_until_blocked(db, second)
        report(db)

    assert claimed.result(PATIENCE) == []


@pytest.mark.parametrize("retry_after", [timedelta(seconds=1), timedelta(minutes=20)])
def test_the_time_that_the_provider_asks_for_wins(db: Db, retry_after: timedelta) -> None:
    for _ in range(3):
        before = datetime.now(UTC)
        until = report(db, retry_after=retry_after)
        assert until
        assert before + retry_after <= until <= datetime.now(UTC) + retry_after
        let_pause_end(db)


def test_a_provider_that_asks_for_no_time_is_left_alone_all_the_same(db: Db) -> None:
    before = datetime.now(UTC)

    until = report(db, retry_after=timedelta(0))

    assert until
    assert until >= before + timedelta(seconds=0.5)


def test_attempts_under_way_when_trouble_begins_count_once_but_what_they_were_told_holds(db: Db) -> None:
    create_many(db, [{}] * 5)
    jobs = claim(db, 5)

    for job in jobs[:4]:
        fails(db, job, retry_after=None)
    fails(db, jobs[4], retry_after=timedelta(hours=1))

    (shown,) = db.execute("table aiserv.providers").fetchall()
    assert shown["pauses"] == 1
    assert shown["paused_until"] > datetime.now(UTC) + timedelta(minutes=50)


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
