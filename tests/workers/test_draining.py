"""A worker that is to stop: it finishes what it can, and gives the rest back."""

from datetime import timedelta

import anyio
import anyio.lowlevel

from aiserv.models import Job
from tests.waiting import until
from tests.workers.running import Db, create, finished, job, meddler, never, running
from workers.attempt import End
from workers.executors import Outcome


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
        meddler(worker.claim_database).after_claim = drain
        job_id = create(db)

        await until(lambda: worker.record.ends[End.RELEASED] == 1)
        assert job(db, job_id)["status"] == "pending"
        assert executed == []
