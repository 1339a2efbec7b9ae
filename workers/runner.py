"""The run of an attempt: executed under its cancel scope, then stored, whatever it came to."""

import logging
import traceback
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import anyio

from aiserv.database import Database, DatabaseError
from aiserv.metrics import WorkerMetrics
from aiserv.models import Job, ReleaseJob
from workers.attempt import Attempt, End, Stop
from workers.executors import Executor
from workers.failures import Failure, redact
from workers.record import Record
from workers.settle import FINAL, RETRY_SECONDS, Settler, completion, failure

logger = logging.getLogger(__name__)

# How long a job rests whose provider is in trouble and does not say for how long: twice as long each time.
LONGEST_REST: Final = timedelta(seconds=30)
# Refusals that mean: somebody else has the job, or nobody. Any other one is about what was to be stored.
GONE: Final = ("JN404", "JL409", "JS409")


class Runner:
    """Runs attempts to their end. `secrets` are kept out of what is stored and logged."""

    def __init__(
        self, execute: Executor, database: Database, metrics: WorkerMetrics, record: Record, secrets: Sequence[str]
    ) -> None:
        self._execute = execute
        self._database = database
        self._metrics = metrics
        self._record = record
        self._secrets = secrets
        self.settler = Settler(database, record)

    async def run(self, attempt: Attempt) -> End:
        """Execute the job and store the end of the attempt."""
        job = attempt.job
        executed = await self._executed(attempt)
        # From here on a stop comes too late: there is something to store.
        attempt.executing = False
        if attempt.stopped is Stop.LOST:
            return End.LEASE_LOST
        if isinstance(executed, str):
            return await self._settle(job, executed, End.COMPLETED)
        if executed is None or attempt.stopped is Stop.SHUTDOWN:
            return await self._release(job, None)
        self._record.last_error = executed.category
        self._metrics.tokens(job.model_profile, executed.usage)
        if executed.provider_trouble:
            return await self._release(job, executed.retry_after or _rest(job))
        return await self._settle(job, failure(job, executed), End.FAILED)

    async def _executed(self, attempt: Attempt) -> str | Failure | None:
        """The settlement of a success, a failure fit to be stored, or None for a run that was stopped."""
        job = attempt.job
        try:
            with attempt.scope:
                outcome = await self._execute(job)
                settlement = completion(job, outcome)
                self._metrics.tokens(job.model_profile, outcome.usage)
                return settlement
        except Failure as failed:
            return failed.presentable(self._secrets)
        except Exception as error:  # noqa: BLE001 - a bug in an executor must cost one job, not the worker
            said = redact("".join(traceback.format_exception(error)), self._secrets)
            logger.error("job %s attempt %s: the executor broke\n%s", job.id, job.attempt, said)  # noqa: TRY400 - redacted
            return Failure("internal", "the executor broke; the worker's log has it under the job's id")
        return None

    async def _settle(self, job: Job, settlement: str, end: End) -> End:
        settled = await self.settler.settle(settlement)
        if settled.code and settled.code not in GONE and end is End.COMPLETED:
            # Better a job that says why than one that is run again and again for a result nobody can keep.
            refused = Failure("internal", f"PostgreSQL does not take the result: {settled.code}")
            return await self._settle(job, failure(job, refused), End.FAILED)
        if settled.code:
            return self._refused(job, settled.code)
        transition = "complete" if end is End.COMPLETED else "fail"
        self._metrics.transition(transition, job.task_type, job.model_profile)
        return end

    async def _release(self, job: Job, delay: timedelta | None) -> End:
        seconds = delay.total_seconds() if delay else None
        released = ReleaseJob.model_validate({"attempt": job.attempt, "delay": seconds})
        while True:
            try:
                await self._database.release_job(job.id, released)
                break
            except DatabaseError as error:
                said = self._record.database_error(error)
                if error.sqlstate and error.sqlstate.startswith(FINAL):
                    return self._refused(job, error.sqlstate)
                # Left alone, its lease would run out: that counts against a job.
                logger.warning("job %s waits to be released: %s", job.id, said)
            await anyio.sleep(RETRY_SECONDS)
        self._metrics.transition("release", job.task_type, job.model_profile)
        return End.RELEASED

    def _refused(self, job: Job, code: str) -> End:
        logger.warning("job %s attempt %s: dropped, PostgreSQL says %s", job.id, job.attempt, code)
        self._record.last_error = code
        return End.LEASE_LOST


def _rest(job: Job) -> timedelta:
    return min(timedelta(seconds=2 ** min(job.attempt - 1, 10)), LONGEST_REST)
