"""Runs that lost their job: cancelled, taken away, or retried while they ran."""

from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from aiserv.models import Job
from tests.providers import fake_provider, hangs
from tests.waiting import SOON, until
from tests.workers.chats import chat_at
from tests.workers.running import Db, create, finished, heard, job, meddler, never, running, say_hello
from workers.attempt import End
from workers.executors import Outcome

# Renewed after so long that whoever is told of a loss before is not told by a renewal.
LONG = timedelta(hours=1)


@pytest.fixture
def _long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.worker.LONGEST_LEASE", LONG)


@pytest.mark.usefixtures("_long_leases")
async def test_a_cancel_closes_the_connection_to_the_provider_before_leases_are_renewed(conninfo: str, db: Db) -> None:
    async with (
        fake_provider() as provider,
        chat_at(provider.base_url) as chat,
        running(conninfo, chat, lease=LONG) as worker,
    ):
        provider.answers(hangs())
        job_id = create(db, {"user": "Hello?"})
        await provider.called()

        db.execute("select aiserv.cancel_job(%s)", [job_id])

        with anyio.fail_after(SOON):
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

        with anyio.fail_after(SOON):
            await provider.disconnected()


@pytest.mark.usefixtures("_long_leases")
async def test_a_cancel_while_the_job_is_on_its_way_to_the_worker_stops_it(conninfo: str, db: Db) -> None:
    async def cancel() -> None:
        await heard(worker, lambda: db.execute("select aiserv.cancel_job(%s)", [job_id]))

    async with running(conninfo, never, lease=LONG) as worker:
        meddler(worker.claim_database).after_claim = cancel
        job_id = create(db)

        await until(lambda: worker.record.ends[End.LEASE_LOST] == 1)


@pytest.mark.usefixtures("_long_leases")
async def test_a_cancel_while_leases_are_renewed_stops_the_job(conninfo: str, db: Db) -> None:
    async def cancel() -> None:
        await heard(worker, lambda: db.execute("select aiserv.cancel_job(%s)", [job_id]))

    async with running(conninfo, never, lease=LONG) as worker:
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


async def test_a_number_given_out_again_to_the_same_worker_counts_for_the_later_run(conninfo: str, db: Db) -> None:
    started: list[anyio.Event] = []

    async def hang_at_first(given: Job) -> Outcome:
        started.append(anyio.Event())
        return await (never if len(started) == 1 else say_hello)(given)

    async with running(conninfo, hang_at_first) as worker:
        job_id = create(db)
        await until(lambda: started)

        # As after a failover that lost the claim.
        with db.transaction():
            db.execute("delete from aiserv.lease")
            db.execute("select aiserv._place(array[%s], clock_timestamp())", [job_id])

        assert (await finished(db, job_id))["attempt"] == 1
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
