"""The worker: wakes, claims as many jobs as it has free slots, and has them run."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID, uuid4

import anyio
from anyio.abc import TaskGroup, TaskStatus
from anyio.lowlevel import cancel_shielded_checkpoint

from aiserv.database import Database, DatabaseError
from aiserv.listener import Listener, notified_ids
from aiserv.metrics import WorkerMetrics
from aiserv.models import Job
from aiserv.queries.work import Claimer
from aiserv.wake import LOOK_SECONDS, Pause, TokenBucket, Wake
from workers.attempt import Attempt, End, Stop
from workers.executors import Executor
from workers.followers import Followers
from workers.lease import LeaseKeeper
from workers.record import Record
from workers.runner import Runner

logger = logging.getLogger(__name__)

LONGEST_LEASE: Final = timedelta(seconds=60)
# PostgreSQL in trouble is not asked more often than this, whatever the poll interval.
ERROR_SECONDS: Final = 1.0
# PostgreSQL writes down that we live every ten seconds at most: who says it a little earlier has said it for nothing.
KNOWN_SECONDS: Final = 11.0


@dataclass
class Worker:
    """Claims jobs of `task_types` for `model_profiles` and has `execute` run them, up to `slots` at once.

    Its identity is `worker_id`, a label, and a new `instance_id` with every start. `poll_interval` (seconds)
    counts only while the listener is down. `secrets` are kept out of what is stored and logged. `providers` has
    those of a model profile that has others than the one of its name, and `patience` is how long a job waits for them.
    `queues` has the task types of a model profile that does not go with all of them.
    """

    worker_id: str
    task_types: list[str]
    model_profiles: list[str]
    execute: Executor
    database: Database
    # Claims have a connection of their own: whatever settlements and releases wait for, work goes on.
    claim_database: Database
    # Renewals have one, too: a busy pool must not cost a lease.
    lease_database: Database
    metrics: WorkerMetrics
    slots: int = 4
    poll_interval: float = 2.0
    lease: timedelta = LONGEST_LEASE
    secrets: Sequence[str] = ()
    providers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    queues: Mapping[str, Sequence[str]] = field(default_factory=dict)
    patience: timedelta = timedelta(hours=1)
    instance_id: UUID = field(default_factory=uuid4)
    record: Record = field(default_factory=Record)
    attempts: dict[tuple[UUID, int], Attempt] = field(default_factory=dict, init=False)
    listener: Listener | None = field(default=None, init=False)
    draining: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.lease = min(self.lease, LONGEST_LEASE)
        self._claimer = Claimer(
            self.worker_id,
            self.instance_id,
            self.task_types,
            self.model_profiles,
            self.lease,
            self.slots,
            self.providers,
            self.queues,
        )
        self._wake = Wake()
        self._pause = Pause()
        self._looks = TokenBucket()
        self._abandoned = anyio.CancelScope()
        self._asked_at = -LOOK_SECONDS
        self._known_until = 0.0
        # PostgreSQL may have more jobs than there were slots for: then each slot that is free is a reason to look.
        self._more = True
        # While a claim is under way, its jobs are not among our attempts yet.
        self._cancel_heard = False
        self._runner = Runner(
            self.execute,
            self.database,
            self.metrics,
            self.record,
            secrets=self.secrets,
            patience=self.patience,
        )
        self._lease_keeper = LeaseKeeper(
            self.lease_database,
            self.record,
            self.lease,
            held=self._held,
            lost=self._lose,
            renewed=self._renewed,
        )
        self._followers = Followers(partial(self._runner.run, ended=self._ended), self._look_for_more)
        self.metrics.slots(self.slots, lambda: self._followers.busy)

    def listen(self, conninfo: str) -> Listener:
        """The listener of this worker: `run` it beside the worker."""
        self.listener = Listener(
            conninfo,
            {
                "aiserv_ready": self._hear_profile,
                "aiserv_scheduled": self._hear_profile,
                "aiserv_cancelled": self._hear_cancelled,
            },
            name="aiserv worker listener",
            on_connect=self._look,
            on_disconnect=self._disconnected,
        )
        self.metrics.listener(lambda: self.listener is not None and self.listener.connected)
        return self.listener

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Work until `drain` is called and the last attempt has ended."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._runner.settler.run)
            tasks.start_soon(self._lease_keeper.run)
            task_status.started()
            with self._abandoned:
                async with anyio.create_task_group() as attempts:
                    await self._claim_until_draining(attempts)
                while self.attempts:
                    # Executed, but not stored yet.
                    await self._wake.next.wait()
            tasks.cancel_scope.cancel()

    def drain(self) -> None:
        """Claim no more."""
        self.draining = True
        self._wake()
        self._followers.end()

    def release_all(self) -> None:
        """Stop what still runs and give the jobs back."""
        for attempt in self.attempts.values():
            attempt.stop(Stop.SHUTDOWN)

    def abandon(self) -> None:
        """End at once, whatever is still to be settled."""
        self._abandoned.cancel()

    async def _claim_until_draining(self, tasks: TaskGroup) -> None:
        while not self.draining:
            # Before the claim, not after it: a job created in between must not be missed.
            woken = self._wake.next
            pause = await self._claim_for_free_slots(tasks)
            with anyio.move_on_after(pause):
                await woken.wait()
            await self._looks()

    async def _claim_for_free_slots(self, tasks: TaskGroup) -> float:
        """Claim and start what came; returns how long to sleep if nobody wakes us."""
        now = time.monotonic()
        # Settlements that PostgreSQL does not take must not pile up, either.
        free = max(min(self.slots - self._followers.busy, 2 * self.slots - len(self.attempts)), 0)
        # No slot, nothing to ask for. A claim for one costs nearly as much as one for hundreds: as long as jobs wait to
        # be begun here, a few slots wait to be many. But now and then PostgreSQL is told that we live.
        wanted = self.slots // 2 if self._followers.waiting else 1
        rest = self._asked_at + LOOK_SECONDS - now
        if rest > 0 and free < max(wanted, 1):
            self._more = True
            return rest
        self._asked_at = now
        try:
            jobs, due_in = await self._claim(free)
        except DatabaseError as error:
            self._more = False
            logger.warning("claim failed, trying again: %s", self.record.database_error(error))
            return min(max(self.poll_interval, ERROR_SECONDS), LOOK_SECONDS)
        self._looks.looked(found=bool(jobs))
        # One that came back short has seen all there was: what comes after it announces itself.
        self._more = len(jobs) == free
        if jobs:
            self._start(jobs, tasks)
            # They begin before this task counts them and prepares to wait.
            await cancel_shielded_checkpoint()
            self._count(jobs)
        if self._more:
            return 0
        heard = self.listener is not None and self.listener.connected
        return min(self._pause(due_in), LOOK_SECONDS if heard else self.poll_interval)

    async def _claim(self, free: int) -> tuple[list[Job], float | None]:
        self._cancel_heard = False
        now = time.monotonic()
        is_known = now < self._known_until
        claimed = await self.claim_database.claim(self._claimer, free, is_known=is_known)
        if not is_known:
            self._known_until = now + KNOWN_SECONDS
        self.record.last_claim_at = datetime.now(UTC)
        return claimed

    def _start(self, jobs: list[Job], tasks: TaskGroup) -> None:
        held = {job_id for job_id, _ in self.attempts}
        if again := {job.id for job in jobs if job.id in held}:
            for earlier in self.attempts.values():
                # Retried while it ran here, and ours again: the run before this one is fenced out.
                if earlier.job.id in again:
                    earlier.stop(Stop.LOST)
        attempts = [Attempt(job) for job in jobs]
        for attempt in attempts:
            self.attempts[attempt.key] = attempt
            if self.draining:
                attempt.stop(Stop.SHUTDOWN)
        self._followers.begin(attempts, tasks)
        if self._cancel_heard:
            self._lease_keeper.look()

    def _count(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.metrics.pickup(job.waited_seconds)
        self.metrics.transitions("claim", ((job.task_type, job.model_profile) for job in jobs))

    def _look_for_more(self) -> None:
        if self._more or self.draining:
            self._wake()

    def _ended(self, attempt: Attempt, end: End) -> None:
        job = attempt.job
        # Unless the same number was given out again, to us as well: a failover had lost the claim.
        if self.attempts.get(attempt.key) is attempt:
            del self.attempts[attempt.key]
        self._look_for_more()
        self.record.ends[end] += 1
        self.metrics.attempt(job.task_type, job.model_profile, end, time.monotonic() - attempt.started)
        logger.info("job %s attempt %s: %s", job.id, job.attempt, end)

    def _held(self) -> Mapping[UUID, int]:
        # Of two runs of one job the later one holds it.
        return {
            job_id: number for (job_id, number), attempt in self.attempts.items() if attempt.stopped is not Stop.LOST
        }

    def _lose(self, job_id: UUID, number: int) -> None:
        if attempt := self.attempts.get((job_id, number)):
            attempt.stop(Stop.LOST)

    def _renewed(self, job_id: UUID, number: int, lease_expires_at: datetime) -> None:
        if attempt := self.attempts.get((job_id, number)):
            attempt.lease_expires_at = lease_expires_at

    def _hear_profile(self, model_profile: str) -> None:
        if model_profile in self.model_profiles:
            self._wake()

    def _hear_cancelled(self, payload: str) -> None:
        self._cancel_heard = True
        # It may mean an attempt before ours: PostgreSQL knows.
        if not self._held().keys().isdisjoint(UUID(job_id) for job_id in notified_ids(payload)):
            self._lease_keeper.look()

    def _look(self) -> None:
        """Look at everything: notifications may have been missed."""
        self._wake()
        self._lease_keeper.look()

    async def _disconnected(self) -> None:
        # What comes back may be another primary, which has not heard of us.
        self._known_until = 0.0
        # Now the poll interval counts.
        self._wake()
        for database in (self.database, self.claim_database, self.lease_database):
            await database.reconnect()
