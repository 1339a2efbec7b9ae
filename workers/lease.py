"""Leases: renewed for all attempts of a worker in one statement, and the first to learn that one is lost."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

import anyio
import psycopg
from psycopg_pool import PoolTimeout

from aiserv.database import Database
from aiserv.wake import Wake

logger = logging.getLogger(__name__)


class LeaseKeeper:
    """Renews the leases of what `held()` says is running, every third of their length.

    Whatever PostgreSQL does not confirm was cancelled or taken away: `lost` is told. A renewal that gets no
    answer tells nobody: the lease may still hold, and a settlement will find out.
    """

    def __init__(
        self,
        database: Database,
        lease: timedelta,
        held: Callable[[], Mapping[UUID, int]],
        lost: Callable[[UUID, int], None],
        renewed: Callable[[UUID, datetime], None],
    ) -> None:
        self._database = database
        self._lease = lease
        self._held = held
        self._lost = lost
        self._renewed = renewed
        self._look = Wake()

    def hear_cancelled(self, payload: str) -> None:
        """Look at once if the notification names a job of ours; it may mean an attempt before this one."""
        if not self._held().keys().isdisjoint(_ids(payload)):
            self._look()

    def look(self) -> None:
        """Look at once: notifications may have been missed."""
        self._look()

    async def run(self) -> None:
        """Renew for ever, while draining, too."""
        while True:
            looked = self._look.next
            with anyio.move_on_after(self._lease.total_seconds() / 3):
                await looked.wait()
            await self._renew()

    async def _renew(self) -> None:
        held = dict(self._held())
        if not held:
            return
        try:
            kept = await self._database.heartbeat_jobs(held, self._lease)
        except (psycopg.Error, PoolTimeout) as error:
            logger.warning("leases not renewed: %s", type(error).__name__)
            return
        for job_id, expires_at in kept.items():
            self._renewed(job_id, expires_at)
        for job_id in held.keys() - kept.keys():
            self._lost(job_id, held[job_id])


def _ids(payload: str) -> set[UUID]:
    """The ids in a payload; anybody may notify, so anything may stand there."""
    ids = set()
    for text in payload.split(","):
        try:
            ids.add(UUID(text))
        except ValueError:
            continue
    return ids
