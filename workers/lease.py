"""Leases: renewed for all attempts of a worker in one statement, and the first to learn that one is lost."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import anyio

from aiserv.database import Database, DatabaseError
from aiserv.wake import Wake
from workers.record import Record

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0


class LeaseKeeper:
    """Renews the leases of what `held()` says is running, every third of their length.

    Whatever PostgreSQL does not confirm was cancelled or taken away: `lost` is told. A renewal that gets no
    answer tells nobody: the lease may still hold, and a settlement will find out.
    """

    def __init__(
        self,
        database: Database,
        record: Record,
        lease: timedelta,
        *,
        held: Callable[[], Mapping[UUID, int]],
        lost: Callable[[UUID, int], None],
        renewed: Callable[[UUID, int, datetime], None],
    ) -> None:
        self._database = database
        self._record = record
        self._lease = lease
        self._held = held
        self._lost = lost
        self._renewed = renewed
        self.look = Wake()

    async def run(self) -> None:
        """Renew for ever, while draining, too; `look` makes it renew at once."""
        while True:
            # Before the renewal, not after it: a cancel in between must not be missed.
            looked = self.look.next
            pause = self._lease.total_seconds() / 3
            if not await self._renew():
                pause = min(pause, RETRY_SECONDS)
            with anyio.move_on_after(pause):
                await looked.wait()

    async def _renew(self) -> bool:
        """Whether PostgreSQL has confirmed or denied every lease."""
        held = dict(self._held())
        if not held:
            return True
        try:
            kept = await self._database.heartbeat_jobs(held, self._lease)
        except DatabaseError as error:
            logger.warning("%s leases not renewed, trying again: %s", len(held), self._record.database_error(error))
            return False
        for job_id, attempt in held.items():
            if job_id in kept:
                self._renewed(job_id, attempt, kept[job_id])
            else:
                self._lost(job_id, attempt)
        return True
