"""Waking, claiming, and what becomes of attempts."""

from datetime import timedelta

import anyio
import anyio.lowlevel
import psycopg
import pytest

from aiserv.models import Job
from tests.providers import fake_provider, hangs
from tests.workers.chats import chat_at
from tests.workers.running import Db, create, finished, heard, job, meddler, never, running, say_hello, until
from workers.attempt import End
from workers.executors import Outcome
from workers.worker import Worker


async def test_a_new_job_wakes_an_idle_worker(conninfo: str, db: Db) -> None:
    async with running(conninfo, say_hello):
        job_id = create(db)

        assert (await finished(db, job_id))["result"] == {"content": "Hello."}


async def test_a_job_committed_between_looking_and_waiting_starts_at_once(conninfo: str, db: Db) -> None:
    created = [create(db)]

    async def create_another() -> None:
        await heard(worker, lambda: created.append(create(db)))

    async with running(conninfo, say_hello) as worker:
        await until(lambda: worker.record.ends[End.COMPLETED] == 1)
        meddler(worker.database).after_claim = create_another
        db.execute("notify aiserv_ready, 'qwen'")
        await until(lambda: len(created) == 2)

        assert (await finished(db, created[1]))["status"] == "completed"


async def test_a_scheduled_job_starts_at_its_time(conninfo: str, db: Db) -> None:
    async with running(conninfo, say_hello):
        job_id = create(db, delay="1 second")

        started = await finished(db, job_id)
        assert timedelta(0) <= started["started_at"] - started["run_at"] < timedelta(seconds=1)


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
    db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'aiserv worker listener' and datname = current_database()"
    )
    await until(lambda: worker.listener and not worker.listener.connected)


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
        before = meddler(worker.database).claims

        for _ in range(3):
            await heard(worker, lambda: create(db))

        assert meddler(worker.database).claims == before


async def test_a_full_worker_says_now_and_then_that_it_lives(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.worker.LOOK_SECONDS", 0.1)
    create(db)

    async with running(conninfo, never, slots=1) as worker:
        await until(lambda: worker.attempts)
        before = meddler(worker.database).claims

        await until(lambda: meddler(worker.database).claims > before)
        assert len(worker.attempts) == 1


async def test_a_cancel_closes_the_connection_to_the_provider_within_a_second(conninfo: str, db: Db) -> None:
    async with fake_provider() as provider, chat_at(provider.base_url) as chat, running(conninfo, chat) as worker:
        provider.answers(hangs())
        job_id = create(db, {"user": "Hello?"})
        await provider.called()

        db.execute("select aiserv.cancel_job(%s)", [job_id])

        with anyio.fail_after(1):
            await provider.disconnected()
        await until(lambda: worker.record.ends[End.LEASE_LOST] == 1)
        assert job(db, job_id)["status"] == "cancelled"


async def test_a_cancel_that_nobody_heard_closes_it_at_the_next_renewal(conninfo: str, db: Db) -> None:
    lease = timedelta(seconds=1)
    async with (
        fake_provider() as provider,
        chat_at(provider.base_url) as chat,
        running(conninfo, chat, listen=None, lease=lease, poll_interval=0.1),
    ):
        provider.answers(hangs())
        job_id = create(db, {"user": "Hello?"})
        await provider.called()

        db.execute("select aiserv.cancel_job(%s)", [job_id])

        with anyio.fail_after(2):
            await provider.disconnected()


async def test_a_cancel_while_the_job_is_on_its_way_to_the_worker_stops_it(conninfo: str, db: Db) -> None:
    async def cancel() -> None:
        await heard(worker, lambda: db.execute("select aiserv.cancel_job(%s)", [job_id]))

    async with running(conninfo, never) as worker:
        meddler(worker.database).after_claim = cancel
        job_id = create(db)

        await until(lambda: worker.record.ends[End.LEASE_LOST] == 1)


async def test_a_cancel_while_leases_are_renewed_stops_the_job(conninfo: str, db: Db) -> None:
    async def cancel() -> None:
        await heard(worker, lambda: db.execute("select aiserv.cancel_job(%s)", [job_id]))

    async with running(conninfo, never) as worker:
        job_id = create(db)
        await until(lambda: worker.attempts)
        meddler(worker.lease_database).after_renewal = cancel
        db.execute("select pg_notify('aiserv_cancelled', %s)", [str(job_id)])

        await until(lambda: worker.record.ends[End.LEASE_LOST] == 1)


async def test_the_result_of_a_lost_lease_is_dropped(conninfo: str, db: Db) -> None:
    may_end = anyio.Event()

    async def late(_job: Job) -> Outcome:
        await may_end.wait()
        return Outcome("late", None)

    async with running(conninfo, late, listen=None, poll_interval=0.1) as worker:
        job_id = create(db)
        await until(lambda: worker.attempts)
        worker.draining = True  # it shall not take the job again
        db.execute("update aiserv.lease set lease_expires_at = now() - interval '1 hour'")
        db.execute("select aiserv.recover_jobs()")
        db.execute("select aiserv.claim_jobs('worker-2')")

        may_end.set()

        await until(lambda: worker.record.ends[End.LEASE_LOST] == 1)
        assert worker.record.last_error == "JL409"
        held = job(db, job_id)
        assert (held["status"], held["attempt"], held["worker_id"]) == ("running", 2, "worker-2")


async def test_a_lease_that_is_over_but_not_taken_still_counts(conninfo: str, db: Db) -> None:
    may_end = anyio.Event()

    async def late(_job: Job) -> Outcome:
        await may_end.wait()
        return Outcome("in time", None)

    async with running(conninfo, late, slots=1) as worker:
        job_id = create(db)
        await until(lambda: worker.attempts)
        db.execute("update aiserv.lease set lease_expires_at = now() - interval '1 hour'")

        may_end.set()

        assert (await finished(db, job_id))["result"] == "in time"


async def test_a_job_retried_while_it_runs_is_run_again_by_the_same_worker(conninfo: str, db: Db) -> None:
    async def hang_at_first(given: Job) -> Outcome:
        return await (never if given.attempt == 1 else say_hello)(given)

    async with running(conninfo, hang_at_first) as worker:
        job_id = create(db)
        await until(lambda: worker.attempts)

        db.execute("select aiserv.retry_job(%s)", [job_id])

        assert (await finished(db, job_id))["attempt"] == 2
        await until(lambda: worker.record.ends == {End.LEASE_LOST: 1, End.COMPLETED: 1})
        assert worker.attempts == {}


async def test_a_run_that_does_not_stop_cannot_answer_for_its_successor(conninfo: str, db: Db) -> None:
    may_end = anyio.Event()

    async def stubborn_at_first(given: Job) -> Outcome:
        with anyio.CancelScope(shield=given.attempt == 1):
            await may_end.wait()
        return Outcome(given.attempt, None)

    async with running(conninfo, stubborn_at_first) as worker:
        job_id = create(db)
        await until(lambda: worker.attempts)
        db.execute("select aiserv.retry_job(%s)", [job_id])
        await until(lambda: len(worker.attempts) == 2)

        may_end.set()

        assert (await finished(db, job_id))["result"] == 2


async def test_a_claim_that_fails_is_tried_again(conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.worker.ERROR_SECONDS", 0.01)
    errors = iter([psycopg.OperationalError("gone"), psycopg.errors.UndefinedFunction(), psycopg.InterfaceError()])

    async def fail() -> None:
        if error := next(errors, None):
            meddler(worker.database).after_claim = fail
            raise error

    async with running(conninfo, say_hello, poll_interval=0.01) as worker:
        meddler(worker.database).after_claim = fail
        await heard(worker, lambda: create(db, model_profile="qwen", delay="0"))

        await until(lambda: next(errors, "all raised") == "all raised")
        assert (await finished(db, create(db)))["status"] == "completed"


async def test_a_draining_worker_claims_no_more_and_ends_with_its_last_attempt(conninfo: str, db: Db) -> None:
    may_end = anyio.Event()

    async def slow(_job: Job) -> Outcome:
        await may_end.wait()
        return Outcome("done", None)

    async with running(conninfo, slow) as worker:
        job_id = create(db)
        await until(lambda: worker.attempts)

        worker.drain()
        late = create(db)
        may_end.set()

        assert (await finished(db, job_id))["result"] == "done"
        await until(lambda: not worker.attempts)
        assert job(db, late)["attempt"] == 0


async def test_leases_are_renewed_while_draining(conninfo: str, db: Db) -> None:
    async with running(conninfo, never, lease=timedelta(seconds=1)) as worker:
        job_id = create(db)
        await until(lambda: worker.attempts)
        worker.drain()
        before = job(db, job_id)["lease_expires_at"]

        # PostgreSQL shows a renewal a moment before the worker has heard of it.
        await until(lambda: worker.attempts[job_id, 1].lease_expires_at > before)
        assert job(db, job_id)["lease_expires_at"] > before


async def test_what_still_runs_when_the_time_is_over_is_given_back(conninfo: str, db: Db) -> None:
    async with running(conninfo, never) as worker:
        job_id = create(db)
        await until(lambda: worker.attempts)

        worker.drain()
        worker.release_all()

        await until(lambda: worker.record.ends[End.RELEASED] == 1)
        assert job(db, job_id)["status"] == "pending"
        (attempt,) = db.execute("select outcome from aiserv.list_attempts(%s)", [job_id]).fetchall()
        assert attempt["outcome"] == "released"


async def test_a_claim_under_way_when_draining_begins_gives_its_jobs_back(conninfo: str, db: Db) -> None:
    executed = []

    async def note(given: Job) -> Outcome:
        await anyio.lowlevel.checkpoint()
        executed.append(given)
        return Outcome(None, None)

    async def drain() -> None:
        worker.drain()

    async with running(conninfo, note) as worker:
        meddler(worker.database).after_claim = drain
        job_id = create(db)

        await until(lambda: worker.record.ends[End.RELEASED] == 1)
        assert job(db, job_id)["status"] == "pending"
        assert executed == []
