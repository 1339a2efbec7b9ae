"""The housekeeper of a server: sweeps when a lease runs out or a job becomes due, and every half a minute."""

import logging
from datetime import timedelta

import anyio
import psycopg
from psycopg_pool import PoolTimeout

from aiserv.database import Database
from aiserv.wake import Pause, Wake

logger = logging.getLogger(__name__)


class Sweeper:
    """Calls `Database.sweep` whenever it is time; `wake` tells it that the time may have moved forward."""

    def __init__(self, database: Database, retention: timedelta) -> None:
        self._database = database
        self._retention = retention
        self._pause = Pause()
        self.wake = Wake()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            woken = self.wake.next
            with anyio.move_on_after(await self._sweep()):
                await woken.wait()

    async def _sweep(self) -> float:
        try:
            return self._pause(await self._database.sweep(self._retention))
        except (psycopg.Error, PoolTimeout) as error:
            logger.warning("sweep failed, trying again in a second: %s", type(error).__name__)
            return 1.0
