"""Waking and claiming."""

from collections.abc import Sequence
from datetime import timedelta

import anyio
import anyio.lowlevel
import psycopg
import pytest
from prometheus_client import generate_latest

from aiserv.models import Job, Settlement
from tests.waiting import SOON, until
from tests.workers.running import NEVER, Db, create, finished, heard, meddler, never, running, say_hello
from workers.attempt import End
from workers.executors import Outcome
from workers.worker import Worker


async def test_a_new_job_wakes_an_idle_worker(conninfo: str, db: Db) -> None:
    async with running(conninfo, say_hello):
        job_id = create(db)

        assert (await finished(db, job_id))["result"] == {"content": "Hello."}


async def test_names_may_hold_what_arrays_are_written_with(conninfo: str, db: Db) -> None:
    kind, profile = 'a "b", \\c', "{NULL} d"

    async with running(conninfo, say_hello, task_types=[kind, "null"], model_profiles=[profile, "qwen"]):
        job_id = create(db, task_type=kind, model_profile=profile)

        assert (await finished(db, job_id))["status"] == "completed"


async def test_a_job_committed_between_looking_and_waiting_starts_at_once(conninfo: str, db: Db) -> None:
    created = [create(db)]

    async def create_another() -> None:
        await heard(worker, lambda: created.append(create(db)))

    async with running(conninfo, say_hello) as worker:
        await until(lambda: worker.record.ends[End.COMPLETED] == 1)
        meddler(worker.claim_database).after_claim = create_another
        db.execute("notify aiserv_ready, 'qwen'")
        await until(lambda: len(created) == 2)

        assert (await finished(db, created[1]))["status"] == "completed"


async def test_a_job_that_comes_while_others_wait_to_be_begun_takes_the_free_slot(conninfo: str, db: Db) -> None:
    async def create_another() -> None:
        await heard(worker, lambda: create(db))

    async with running(conninfo, never, slots=4) as worker:
        meddler(worker.claim_database).after_claim = create_another
        with db.transaction():
            for _ in range(3):
                create(db)

        await until(lambda: len(worker.attempts) == 4)


async def test_a_job_that_is_only_to_be_settled_needs_no_slot(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, may_settle = anyio.Event(), anyio.Event()

    async with running(conninfo, say_hello, slots=1) as worker:
        settle_jobs = worker.database.settle_jobs

        async def held(settlements: Sequence[str]) -> dict[int, Settlement]:
            reached.set()
            await may_settle.wait()
            return await settle_jobs(settlements)

        monkeypatch.setattr(worker.database, "settle_jobs", held)
        job_id = create(db)
        with anyio.fail_after(SOON):
            await reached.wait()

        await until(lambda: b"aiserv_worker_slots_busy 0.0" in generate_latest(worker.metrics.registry))
        assert len(worker.attempts) == 1
        may_settle.set()
        assert (await finished(db, job_id))["status"] == "completed"


async def test_a_scheduled_job_starts_at_its_time_and_not_at_a_regular_look(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiserv.wake.LOOK_SECONDS", NEVER)
    monkeypatch.setattr("workers.worker.LOOK_SECONDS", NEVER)

    async with running(conninfo, say_hello):
        job_id = create(db, delay="1 second")

        started = await finished(db, job_id)
        assert started["started_at"] >= started["run_at"]


async def test_without_a_listener_the_poll_finds_a_job(conninfo: str, db: Db) -> None:
    async with running(conninfo, say_hello, listen=None, poll_interval=0.1):
        job_id = create(db)

        assert (await finished(db, job_id))["status"] == "completed"


async def test_a_lost_notification_delays_a_job_by_one_look_at_most(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiserv.wake.LOOK_SECONDS", 0.2)

    async with running(conninfo, say_hello, listen=None):
        job_id = create(db)

        assert (await finished(db, job_id))["status"] == "completed"


async def test_a_worker_whose_listener_dies_polls_until_it_is_back(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiserv.listener.SHORTEST_PAUSE", 60)

    async with running(conninfo, say_hello, poll_interval=0.1) as worker:
        await kill_listener(db, worker)
        job_id = create(db)

        assert (await finished(db, job_id))["status"] == "completed"


async def test_a_worker_whose_listener_is_killed_again_and_again_still_hears(conninfo: str, db: Db) -> None:
    async with running(conninfo, say_hello) as worker:
        assert worker.listener
        for times in range(1, 6):
            await kill_listener(db, worker)
            await until(lambda: worker.listener and worker.listener.connected)
            assert worker.listener.reconnects == times

        job_id = create(db)
        assert (await finished(db, job_id))["status"] == "completed"


async def kill_listener(db: Db, worker: Worker) -> None:
    assert worker.listener
    before = worker.listener.reconnects
    db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'aiserv worker listener' and datname = current_database()"
    )
    await until(lambda: worker.listener and (not worker.listener.connected or worker.listener.reconnects > before))


async def test_a_worker_takes_no_more_than_it_has_slots_and_the_next_as_soon_as_one_is_free(
    conninfo: str, db: Db
) -> None:
    at_once = most = 0

    async def count(_job: Job) -> Outcome:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0.01)
        at_once -= 1
        return Outcome(None, None)

    for _ in range(8):
        create(db)
    async with running(conninfo, count, slots=2) as worker:
        await until(lambda: worker.record.ends[End.COMPLETED] == 8)

    assert most == 2


async def test_a_wake_costs_a_full_worker_no_statement(conninfo: str, db: Db) -> None:
    create(db)
    async with running(conninfo, never, slots=1) as worker:
        await until(lambda: worker.attempts)
        before = meddler(worker.claim_database).claims

        for _ in range(3):
            await heard(worker, lambda: create(db))

        assert meddler(worker.claim_database).claims == before


async def test_a_job_costs_an_idle_worker_one_claim(conninfo: str, db: Db) -> None:
    async with running(conninfo, say_hello) as worker:
        before = meddler(worker.claim_database).claims

        for ended in range(1, 6):
            create(db)
            await until(lambda: worker.record.ends[End.COMPLETED] == ended)  # noqa: B023 - awaited here

        assert meddler(worker.claim_database).claims == before + 5


@pytest.mark.parametrize(("configured", "leased"), [(timedelta(minutes=15), 60), (timedelta(seconds=10), 10)])
async def test_a_lease_is_a_minute_at_most(conninfo: str, db: Db, configured: timedelta, leased: int) -> None:
    job_id = create(db)

    async with running(conninfo, never, lease=configured) as worker:
        await until(lambda: worker.attempts)
        row = db.execute("select lease from aiserv.lease where job_id = %s", [job_id]).fetchone()

    assert row == {"lease": timedelta(seconds=leased)}


async def test_a_full_worker_says_now_and_then_that_it_lives(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.worker.LOOK_SECONDS", 0.1)
    create(db)

    async with running(conninfo, never, slots=1) as worker:
        await until(lambda: worker.attempts)
        before = meddler(worker.claim_database).claims

        await until(lambda: meddler(worker.claim_database).claims > before)
        assert len(worker.attempts) == 1


async def test_a_worker_says_again_who_it_is(conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.worker.KNOWN_SECONDS", 0.0)

    async with running(conninfo, say_hello) as worker:
        db.execute("delete from aiserv.worker")
        create(db)
        await until(lambda: worker.record.ends[End.COMPLETED] == 1)

        assert known(db) == ["worker-1"]


async def test_a_worker_that_was_cut_off_says_who_it_is(conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.worker.KNOWN_SECONDS", NEVER)

    async with running(conninfo, say_hello) as worker:
        db.execute("delete from aiserv.worker")
        await kill_listener(db, worker)

        await until(lambda: known(db) == ["worker-1"])


def known(db: Db) -> list[str]:
    return [row["worker_id"] for row in db.execute("select worker_id from aiserv.workers").fetchall()]


async def test_a_claim_that_fails_is_tried_again(conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.worker.ERROR_SECONDS", 0.01)
    errors = iter([psycopg.OperationalError("gone"), psycopg.errors.UndefinedFunction(), psycopg.InterfaceError()])

    async def fail() -> None:
        if error := next(errors, None):
            meddler(worker.claim_database).after_claim = fail
            raise error

    async with running(conninfo, say_hello, poll_interval=0.01) as worker:
        meddler(worker.claim_database).after_claim = fail
        await heard(worker, lambda: create(db, model_profile="qwen", delay="0"))

        await until(lambda: next(errors, "all raised") == "all raised")
        assert (await finished(db, create(db)))["status"] == "completed"
