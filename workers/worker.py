"""The worker: wakes, claims as many jobs as it has free slots, executes and settles them."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import anyio
import psycopg
from anyio.abc import TaskGroup, TaskStatus
from psycopg_pool import PoolTimeout

from aiserv.database import Claimer, Database
from aiserv.listener import Listener
from aiserv.metrics import WorkerMetrics
from aiserv.models import Job, ReleaseJob
from aiserv.wake import LOOK_SECONDS, Pause, Wake
from workers.attempt import Attempt, Stop
from workers.executors import Executor
from workers.failures import Failure
from workers.lease import LeaseKeeper
from workers.settle import Settler, completion, failure

logger = logging.getLogger(__name__)

# How long a job rests whose provider is in trouble and does not say for how long.
TROUBLE_DELAY = timedelta(seconds=5)
LONGEST_LEASE = timedelta(seconds=60)


@dataclass
class Counts:
    """What became of the attempts of this worker since it started."""

    completed: int = 0
    failed: int = 0
    released: int = 0
    lease_lost: int = 0

    @property
    def processed(self) -> int:
        return self.completed + self.failed + self.released + self.lease_lost


@dataclass
class Worker:
    """Claims jobs of `task_types` for `model_profiles` and has `execute` run them, up to `slots` at once.

    Its identity is `worker_id`, a label, and a new `instance_id` with every start. `poll_interval` (seconds)
    counts only while the listener is down.
    """

    worker_id: str
    task_types: list[str]
    model_profiles: list[str]
    execute: Executor
    database: Database
    # Renewals have connections of their own: a busy pool must not cost a lease.
    lease_database: Database
    metrics: WorkerMetrics
    slots: int = 4
    poll_interval: float = 2.0
    lease: timedelta = LONGEST_LEASE
    instance_id: UUID = field(default_factory=uuid4)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    counts: Counts = field(default_factory=Counts)
    last_claim_at: datetime | None = None
    last_error: str | None = None
    draining: bool = False
    _running: TaskGroup = field(init=False)

    def __post_init__(self) -> None:
        self.attempts: dict[UUID, Attempt] = {}
        self.listener: Listener | None = None
        self._wake = Wake()
        self._pause = Pause()
        self._settler = Settler(self.database)
        self.lease = min(self.lease, LONGEST_LEASE)
        self._lease_keeper = LeaseKeeper(self.lease_database, self.lease, self._held, self._lose, self._renewed)
        self.metrics.slots(self.slots, lambda: len(self.attempts))

    def listen(self, conninfo: str) -> Listener:
        """The listener of this worker: `run` it beside the worker."""
        self.listener = Listener(
            conninfo,
            {
                "aiserv_ready": self._hear_profile,
                "aiserv_scheduled": self._hear_profile,
                "aiserv_cancelled": self._lease_keeper.hear_cancelled,
            },
            on_connect=self._look,
        )
        self.metrics.listener(lambda: self.listener is not None and self.listener.connected)
        return self.listener

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until `drain` is called and the last attempt has ended."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._settler.run)
            tasks.start_soon(self._lease_keeper.run)
            task_status.started()
            async with anyio.create_task_group() as self._running:
                await self._claim_until_draining(self._running)
            tasks.cancel_scope.cancel()

    def drain(self) -> None:
        """Claim no more."""
        self.draining = True
        self._wake()

    def release_all(self) -> None:
        """Stop what still runs and give the jobs back."""
        for attempt in self.attempts.values():
            attempt.stop(Stop.SHUTDOWN)

    def abandon(self) -> None:
        """End at once, whatever is still to be settled."""
        self._running.cancel_scope.cancel()

    async def _claim_until_draining(self, attempts: TaskGroup) -> None:
        while not self.draining:
            # Before the claim, not after it: a job created in between must not be missed.
            woken = self._wake.next
            pause = await self._claim(attempts)
            with anyio.move_on_after(pause):
                await woken.wait()

    async def _claim(self, attempts: TaskGroup) -> float:
        """Claim for the free slots and start what came; returns how long to sleep if nobody wakes us."""
        free = self.slots - len(self.attempts)
        if free == 0:
            return LOOK_SECONDS
        claimer = Claimer(
            self.worker_id, self.instance_id, self.task_types, self.model_profiles, self.lease, self.slots
        )
        try:
            jobs, due_in = await self.database.claim(claimer, free)
        except (psycopg.Error, PoolTimeout) as error:
            self.last_error = f"claim failed: {type(error).__name__}"
            logger.warning("claim failed, trying again: %s", type(error).__name__)
            return self.poll_interval
        self.last_claim_at = datetime.now(UTC)
        for job in jobs:
            # Retried while it ran here, and ours again: the run before this one is fenced out.
            if job.id in self.attempts:
                self.attempts[job.id].stop(Stop.LOST)
            self.attempts[job.id] = Attempt(job)
            attempts.start_soon(self._attempt, self.attempts[job.id])
        heard = self.listener is not None and self.listener.connected
        return min(self._pause(due_in), LOOK_SECONDS if heard else self.poll_interval)

    async def _attempt(self, attempt: Attempt) -> None:
        """Execute and settle one job; whatever happens, the slot is free afterwards."""
        job, started = attempt.job, time.monotonic()
        self.metrics.transition("claim", job.task_type, job.model_profile)
        self.metrics.pickup(job.waited_seconds)
        try:
            outcome = await self._execute_and_settle(attempt)
        finally:
            if self.attempts.get(job.id) is attempt:
                del self.attempts[job.id]
            # A slot is free: look for more.
            self._wake()
        setattr(self.counts, outcome, getattr(self.counts, outcome) + 1)
        self.metrics.attempt(job.task_type, job.model_profile, outcome, time.monotonic() - started)
        logger.info("job %s attempt %s: %s", job.id, job.attempt, outcome)

    async def _execute_and_settle(self, attempt: Attempt) -> str:
        job = attempt.job
        settlement: str | None = None
        failed: Failure | None = None
        with attempt.scope:
            try:
                outcome = await self.execute(job)
                settlement = completion(job, outcome)
                self.metrics.tokens(job.model_profile, outcome.usage)
            except Failure as error:
                failed = error
            except Exception:
                logger.exception("job %s attempt %s: the executor broke", job.id, job.attempt)
                failed = Failure("internal", "the executor broke; the worker's log has it under the job's id")
        attempt.executing = False

        if attempt.stopped is Stop.LOST:
            return "lease_lost"
        if attempt.stopped is Stop.SHUTDOWN and settlement is None:
            return await self._release(job, timedelta(0))
        if failed is not None:
            self.last_error = failed.category
            if failed.provider_trouble:
                return await self._release(job, failed.retry_after or TROUBLE_DELAY)
            settlement = failure(job, failed)
        assert settlement is not None  # noqa: S101 - neither stopped nor failed: completed
        settled = await self._settler.settle(settlement)
        if settled.code is not None:
            return self._refused(job, settled.code)
        transition = "complete" if failed is None else "fail"
        self.metrics.transition(transition, job.task_type, job.model_profile)
        return "completed" if failed is None else "failed"

    async def _release(self, job: Job, delay: timedelta) -> str:
        released = ReleaseJob(attempt=job.attempt, delay=delay or None)
        try:
            await self.database.release_job(job.id, released)
        except (psycopg.Error, PoolTimeout) as error:
            # Then its lease runs out, and the job goes on all the same.
            return self._refused(job, getattr(error, "sqlstate", None) or type(error).__name__)
        self.metrics.transition("release", job.task_type, job.model_profile)
        return "released"

    def _refused(self, job: Job, code: str) -> str:
        logger.warning("job %s attempt %s: result dropped, PostgreSQL says %s", job.id, job.attempt, code)
        self.last_error = f"settlement refused: {code}"
        return "lease_lost"

    def _held(self) -> Mapping[UUID, int]:
        return {job_id: attempt.job.attempt for job_id, attempt in self.attempts.items()}

    def _lose(self, job_id: UUID, attempt: int) -> None:
        running = self.attempts.get(job_id)
        if running is not None and running.job.attempt == attempt:
            running.stop(Stop.LOST)

    def _renewed(self, job_id: UUID, lease_expires_at: datetime) -> None:
        if job_id in self.attempts:
            self.attempts[job_id].lease_expires_at = lease_expires_at

    def _hear_profile(self, model_profile: str) -> None:
        if model_profile in self.model_profiles:
            self._wake()

    def _look(self) -> None:
        self._wake()
        self._lease_keeper.look()
