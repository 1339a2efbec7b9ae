"""The housekeeper of a server: sweeps when a lease runs out or a job becomes due, and every half a minute."""

import logging
import time
from datetime import timedelta

import anyio

from aiserv.database import Database, DatabaseError
from aiserv.wake import Pause, TokenBucket, Wake, became_due

logger = logging.getLogger(__name__)


class Sweeper:
    """Calls `Database.sweep` whenever it is time; `wake` tells it that the time may have moved forward."""

    def __init__(self, database: Database, retention: timedelta) -> None:
        self._database = database
        self._retention = retention
        self._pause = Pause()
        self._looks = TokenBucket()
        self.wake = Wake()

    async def run(self) -> None:
        """Sweep for ever."""
        while True:
            woken = self.wake.next
            with anyio.move_on_after(await self._sweep()):
                await woken.wait()
            await self._looks()

    async def _sweep(self) -> float:
        begin = time.monotonic()
        try:
            # Not cancelled at a stop: it is short, and cancelling it would cost a connection.
            with anyio.CancelScope(shield=True):
                due_in = await self._database.sweep(self._retention)
        except DatabaseError as error:
            logger.warning("sweep failed, trying again in a second: %s", type(error).__name__)
            return 1.0
        took = time.monotonic() - begin
        # Due since it began: it has done a full piece, and there is more.
        self._looks.looked(found=became_due(due_in, took))
        return self._pause(due_in, took)
