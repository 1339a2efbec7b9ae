"""Waiting for the end of jobs: as many as like may wait, and hold no connection to the database meanwhile."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

import anyio

from aiserv.database import Database, DatabaseError
from aiserv.listener import notified_ids
from aiserv.queries.base import ShownJob
from aiserv.wake import LOOK_SECONDS, Until, Wake, until

logger = logging.getLogger(__name__)

# Read in one statement; jobs may be heavy.
PIECE: Final = 200
RETRY_SECONDS: Final = 1.0


class _Waiter:
    """Somebody who waits for a job, and what was last read of it."""

    def __init__(self) -> None:
        self.wake = Wake()
        self.shown: ShownJob | None = None
        self.failed = False


class FinishedJobs:
    """Reads the jobs that somebody waits for, all in one statement, when a notification says that they have finished.

    A notification may be lost: twice a minute, and whenever the listener is back, all that are waited for are read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiters: dict[UUID, set[_Waiter]] = {}
        self._wanted: set[UUID] = set()
        self._wake = Wake()
        self._stopping = False

    def hear(self, payload: str) -> None:
        """Take in a notification of `aiserv_finished`: ids, comma-separated."""
        if self._waiters:
            self._want(self._waiters.keys() & {UUID(job_id) for job_id in notified_ids(payload)})

    def look(self) -> None:
        """Read all jobs that somebody waits for."""
        self._want(self._waiters.keys())

    def stop(self) -> None:
        """Let everybody who waits go with what they have."""
        self._stopping = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.wake()

    async def wait_for(self, job_id: UUID, wait: timedelta, patience: Until = until) -> ShownJob:
        """The job when it is finished, or as it is when the time is over. Raises JN404."""
        with self._waiting(job_id) as waiter, patience(anyio.current_time() + wait.total_seconds()):
            while not self._stopping and not waiter.failed:
                woken = waiter.wake.next
                if waiter.shown and waiter.shown.is_finished:
                    return waiter.shown
                await woken.wait()
        return await self._database.get_job(job_id)

    async def wait_for_batch(self, batch_id: UUID, wait: timedelta, patience: Until = until) -> None:
        """Return when all jobs of the batch are finished, or the time is over."""
        end = anyio.current_time() + wait.total_seconds()
        while not self._stopping and (left := end - anyio.current_time()) > 0:
            unfinished = await self._database.unfinished_in_batch(batch_id)
            if unfinished is None:
                return
            await self.wait_for(unfinished, timedelta(seconds=left), patience)

    async def run(self) -> None:
        """Read what is wanted, for ever."""
        while True:
            woken = self._wake.next
            if self._wanted:
                await self._read([self._wanted.pop() for _ in range(min(PIECE, len(self._wanted)))])
                continue
            with anyio.move_on_after(LOOK_SECONDS) as pause:
                await woken.wait()
            if pause.cancelled_caught:
                self.look()

    @contextmanager
    def _waiting(self, job_id: UUID) -> Iterator[_Waiter]:
        waiter = _Waiter()
        # Before the first read, not after it: an end in between must not be missed.
        self._waiters.setdefault(job_id, set()).add(waiter)
        self._want({job_id})
        try:
            yield waiter
        finally:
            self._waiters[job_id].discard(waiter)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    def _want(self, job_ids: Iterable[UUID]) -> None:
        self._wanted.update(job_ids)
        if self._wanted:
            self._wake()

    async def _read(self, job_ids: list[UUID]) -> None:
        try:
            # At a stop it is short, and cancelling it would cost a connection.
            with anyio.CancelScope(shield=True):
                found = {shown.id: shown for shown in await self._database.jobs_with_ids(job_ids)}
        except DatabaseError as error:
            logger.warning("jobs that are waited for could not be read: %s", type(error).__name__)
            self._wanted.update(job_ids)
            await anyio.sleep(RETRY_SECONDS)
            return
        for job_id in job_ids:
            for waiter in self._waiters.get(job_id, ()):
                waiter.shown = found.get(job_id)
                # Whoever waits for what is not there asks for it alone, and is told so.
                waiter.failed = waiter.shown is None
                waiter.wake()
