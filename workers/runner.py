"""The run of an attempt: executed under its cancel scope, then stored, whatever it came to."""

import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple, TypeVar

import anyio

from aiserv.database import Database, DatabaseError
from aiserv.metrics import WorkerMetrics
from aiserv.models import Job, Settlement
from workers.attempt import Attempt, End, Stop
from workers.executors import Executor
from workers.failures import Failure, redact
from workers.record import Record, sqlstate
from workers.settle import FINAL, RETRY_SECONDS, Settler, completion, failure

logger = logging.getLogger(__name__)

# Refusals that mean: somebody else has the job, or nobody. Any other one is about what was to be stored.
GONE: Final = ("JN404", "JL409", "JS409")


_T = TypeVar("_T")
# Hears what became of an attempt, once that is stored.
Ended = Callable[[Attempt, End], None]


class _Success(NamedTuple):
    settlement: str
    troubles: Mapping[str, Failure]


class Runner:
    """Runs attempts to their end. `secrets` are kept out of what is stored and logged.

    `patience` is how long after its first claim a job is given back for the trouble of its providers.
    """

    def __init__(
        self,
        execute: Executor,
        database: Database,
        metrics: WorkerMetrics,
        record: Record,
        *,
        secrets: Sequence[str],
        patience: timedelta,
    ) -> None:
        self._execute = execute
        self._database = database
        self._metrics = metrics
        self._record = record
        self._secrets = secrets
        self._patience = patience
        self.settler = Settler(database, record)

    async def run(self, attempts: Iterator[Attempt], ended: Ended) -> None:
        """Execute one job after another and see to it that the ends are stored; `ended` hears of each when it is.

        The next one begins while the settlement of the one before is on its way.
        """
        while left := await self._run_until_one_is_left(attempts, ended):
            await self._conclude(*left, ended)

    async def _run_until_one_is_left(
        self, attempts: Iterator[Attempt], ended: Ended
    ) -> tuple[Attempt, _Success | Failure | None] | None:
        """The first attempt that does not simply succeed, or None at the end.

        As long as they succeed they share a scope: to make one for each would cost as much as all the rest.
        """
        with anyio.CancelScope() as scope:
            for attempt in attempts:
                executed = None
                if attempt.stopped is None:
                    attempt.scope = scope
                    executed = await self._executed(attempt)
                # From here on a stop comes too late: there is something to store.
                attempt.executed = True
                if attempt.stopped or not isinstance(executed, _Success) or executed.troubles:
                    return attempt, executed
                self._settle(attempt, executed.settlement, End.COMPLETED, ended)
            return None
        attempt.executed = True
        return attempt, None

    async def _conclude(self, attempt: Attempt, executed: _Success | Failure | None, ended: Ended) -> None:
        """Store the end of an attempt that was stopped or failed, or that found a provider in trouble."""
        job = attempt.job
        if attempt.stopped is Stop.LOST:
            ended(attempt, End.LEASE_LOST)
            return
        if executed is None or (attempt.stopped is Stop.SHUTDOWN and isinstance(executed, Failure)):
            ended(attempt, await self._release(job, None))
            return
        # Before the job: else it could be claimed again for a provider of which nobody knows yet.
        if troubles := _troubles(job, executed):
            await self._report(job, troubles)
        if isinstance(executed, _Success):
            self._settle(attempt, executed.settlement, End.COMPLETED, ended)
            return
        self._record.last_error = executed.category
        self._metrics.tokens(job.model_profile, executed.usage)
        if executed.provider_trouble:
            ended(attempt, await self._release(job, executed))
            return
        self._settle(attempt, failure(job, executed), End.FAILED, ended)

    async def _executed(self, attempt: Attempt) -> _Success | Failure:
        """A success or a failure, fit to be stored."""
        job = attempt.job
        try:
            outcome = await self._execute(job)
            success = _Success(completion(job, outcome), outcome.troubles)
            self._metrics.tokens(job.model_profile, outcome.usage)
        except Failure as failed:
            return failed.presentable(self._secrets)
        except Exception as error:  # noqa: BLE001 - a bug in an executor must cost one job, not the worker
            said = redact("".join(traceback.format_exception(error)), self._secrets)
            logger.error("job %s attempt %s: the executor broke\n%s", job.id, job.attempt, said)  # noqa: TRY400 - redacted
            return Failure("internal", "the executor broke; the worker's log has it under the job's id")
        return success

    def _settle(self, attempt: Attempt, settlement: str, end: End, ended: Ended) -> None:
        self.settler.add(settlement, partial(self._settled, attempt, end, ended))

    def _settled(self, attempt: Attempt, end: End, ended: Ended, refused: Settlement | None) -> None:
        job = attempt.job
        if refused and refused.code not in GONE and end is End.COMPLETED:
            # Better a job that says why than one that is run again and again for a result nobody can keep.
            why = Failure("internal", f"PostgreSQL does not take the result: {refused.code}")
            self._settle(attempt, failure(job, why), End.FAILED, ended)
            return
        if refused:
            ended(attempt, self._refused(job, refused.code))
            return
        transition = "complete" if end is End.COMPLETED else "fail"
        self._metrics.transition(transition, job.task_type, job.model_profile)
        ended(attempt, end)

    async def _report(self, job: Job, troubles: Mapping[str, Failure]) -> None:
        for provider, trouble in troubles.items():
            logger.warning("provider %s is in trouble: %s", provider, trouble.category)
            try:
                await self._insist(job, partial(self._database.report_provider, provider, trouble, job))
            except DatabaseError as error:
                logger.warning("its trouble is not known to others: %s", self._record.database_error(error))

    async def _release(self, job: Job, trouble: Failure | None) -> End:
        try:
            # No provider's pause holds back a job that nobody could be reported for.
            delay = trouble.retry_after if trouble and trouble.troubles == {} else None
            give_back = partial(self._database.give_back, job, trouble, self._patience, delay)
            status = await self._insist(job, give_back)
        except DatabaseError as error:
            return self._refused(job, sqlstate(error))
        self._metrics.transition("fail" if status == "failed" else "release", job.task_type, job.model_profile)
        return End.FAILED if status == "failed" else End.RELEASED

    async def _insist(self, job: Job, call: Callable[[], Awaitable[_T]]) -> _T:
        """The answer of PostgreSQL, however long it takes. Raises DatabaseError for a refusal."""
        while True:
            try:
                return await call()
            except DatabaseError as error:
                if error.sqlstate and error.sqlstate.startswith(FINAL):
                    raise
                # Left alone, its lease would run out: that counts against a job.
                logger.warning("job %s waits to be released: %s", job.id, self._record.database_error(error))
            await anyio.sleep(RETRY_SECONDS)

    def _refused(self, job: Job, code: str | None) -> End:
        logger.warning("job %s attempt %s: dropped, PostgreSQL says %s", job.id, job.attempt, code)
        self._record.last_error = code
        return End.LEASE_LOST


def _troubles(job: Job, executed: _Success | Failure) -> Mapping[str, Failure]:
    if isinstance(executed, Failure) and executed.troubles is None:
        return {job.model_profile: executed} if executed.provider_trouble else {}
    return executed.troubles or {}
