"""The one connection of a process that listens: it turns notifications into wakes."""

import logging
import random
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

import anyio
import psycopg
from anyio.abc import TaskStatus
from psycopg import sql

logger = logging.getLogger(__name__)

# A silent drop of an idle connection is noticed in 3 + 3 × 1 seconds: the kernel probes, no statement is sent.
KEEPALIVES: Final = {"keepalives_idle": 3, "keepalives_interval": 1, "keepalives_count": 3}
PROBE_SECONDS: Final = 5
LONGEST_PAUSE: Final = 5.0


class Listener:
    """Calls `hear[channel](payload)` for each notification, and `on_connect` whenever it listens anew.

    Notifications sent while it was away are lost, so `on_connect` must make everybody look for themselves.
    `on_disconnect` is called when the connection breaks: others of the process have likely broken with it.
    """

    def __init__(
        self,
        conninfo: str,
        hear: Mapping[str, Callable[[str], None]],
        *,
        on_connect: Callable[[], None],
        on_disconnect: Callable[[], None] = lambda: None,
    ) -> None:
        self._conninfo = conninfo
        self._hear = hear
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self.connected = False
        self.reconnects = -1
        self.last_notification_at: datetime | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen for ever; the first connection need not succeed for others to start."""
        task_status.started()
        pause = 0.1
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                if self.connected:
                    pause = 0.1
                    self._on_disconnect()
                self.connected = False
                logger.warning("listener disconnected, notifications are missed: %s", error)
            # Jitter, so that a fleet does not knock all at once.
            await anyio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret hangs on it
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, connect_timeout=5, application_name="aiserv listener", **KEEPALIVES
        )
        async with connection:
            await self._subscribe(connection)
            self.connected = True
            self.reconnects += 1
            self._on_connect()
            async for notification in connection.notifies():
                self.last_notification_at = datetime.now(UTC)
                if notification.channel in self._hear:
                    self._hear[notification.channel](notification.payload)
        raise psycopg.OperationalError("the connection ended")

    async def _subscribe(self, connection: psycopg.AsyncConnection) -> None:
        """LISTEN to all channels, and prove that notifications arrive: behind a transaction pooler they do not."""
        probe = f"aiserv_probe_{uuid4().hex}"
        channels = sql.SQL("; ").join(
            sql.SQL("listen {}").format(sql.Identifier(channel)) for channel in [*self._hear, probe]
        )
        await connection.execute(channels)
        await connection.execute(sql.SQL("notify {}").format(sql.Identifier(probe)))
        if not await self._arrives(connection, probe):
            raise psycopg.OperationalError(
                "a notification to itself did not arrive: LISTEN does not work behind a transaction pooler; "
                "set DATABASE_LISTEN_URL to a direct connection"
            )
        await connection.execute(sql.SQL("unlisten {}").format(sql.Identifier(probe)))

    async def _arrives(self, connection: psycopg.AsyncConnection, probe: str) -> bool:
        # The generator holds the connection until it is closed.
        async with aclosing(connection.notifies(timeout=PROBE_SECONDS)) as notifications:
            async for notification in notifications:
                if notification.channel == probe:
                    return True
        return False
