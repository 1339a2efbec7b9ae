"""The one connection of a process that listens: it turns notifications into wakes."""

import logging
import random
import re
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

import anyio
import anyio.lowlevel
import psycopg
from anyio.abc import TaskStatus
from psycopg import sql

logger = logging.getLogger(__name__)

# A silent drop of a connection is noticed within seconds. An idle one is probed by the kernel, without any statement;
# one whose statement nobody acknowledges is given up after so many milliseconds.
KEEPALIVES: Final[dict[str, Any]] = {
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 4_000,
}
# As PostgreSQL writes it, between commas.
_ID: Final = re.compile(r"(?<![^,])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![^,])")
# A backend or a proxy that hangs is not dead for the kernel: so often it must answer, and as soon.
QUIET_SECONDS: Final = 5
PROBE_SECONDS: Final = 5
SHORTEST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0


class Listener:
    """Calls `hear[channel](payload)` for each notification, and `on_connect` whenever it listens anew.

    Notifications sent while it was away are lost, so `on_connect` must make everybody look for themselves.
    `on_disconnect` runs when the connection breaks: others of the process have likely broken with it. `name` is what
    PostgreSQL shows it as.
    """

    def __init__(
        self,
        conninfo: str,
        hear: Mapping[str, Callable[[str], None]],
        *,
        name: str = "aiserv listener",
        on_connect: Callable[[], None],
        on_disconnect: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._conninfo = conninfo
        self._hear = hear
        self._name = name
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self.connected = False
        self.reconnects = -1
        self.last_notification_at: datetime | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen for ever; the first connection need not succeed for others to start."""
        task_status.started()
        pause = SHORTEST_PAUSE
        async with anyio.create_task_group() as tasks:
            while True:
                try:
                    await self._listen()
                except (psycopg.Error, OSError) as error:
                    logger.warning("listener disconnected, notifications are missed: %s", error)
                if self.connected:
                    self.connected = False
                    pause = SHORTEST_PAUSE
                    if self._on_disconnect:
                        tasks.start_soon(self._on_disconnect)
                # Jitter, so that a fleet does not knock all at once.
                await anyio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret hangs on it
                pause = min(pause * 2, LONGEST_PAUSE)

    async def prove(self) -> None:
        """Connect once, and see a notification arrive. Raises psycopg.Error or OSError that says why it does not."""
        connection = await self._connect(self._name)
        try:
            await self._subscribe(connection)
        finally:
            await connection.close()

    async def _connect(self, name: str) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            self._conninfo, autocommit=True, connect_timeout=5, application_name=name, **KEEPALIVES
        )

    async def _listen(self) -> None:
        connection = await self._connect(self._name)
        try:
            await self._subscribe(connection)
            self.connected = True
            self.reconnects += 1
            self._on_connect()
            while True:
                is_quiet = True
                async with aclosing(connection.notifies(timeout=QUIET_SECONDS)) as notifications:
                    async for notification in notifications:
                        is_quiet = False
                        self.last_notification_at = datetime.now(UTC)
                        if notification.channel in self._hear:
                            self._hear[notification.channel](notification.payload)
                # Not in the middle of a storm: what arrives while it waits for the answer is kept in memory.
                if is_quiet:
                    await _ping(connection)
        finally:
            # Not `async with`: that would roll back first, which a cancelled task cannot, and leave it open.
            await connection.close()

    async def _subscribe(self, connection: psycopg.AsyncConnection) -> None:
        """LISTEN to all channels, and prove that notifications arrive: behind a transaction pooler they do not.

        It passes on what comes with an answer, a session's own notification: so another connection sends the proof.
        """
        probe = f"aiserv_probe_{uuid4().hex}"
        channels = sql.SQL("; ").join(
            sql.SQL("listen {}").format(sql.Identifier(channel)) for channel in [*self._hear, probe]
        )
        await connection.execute(channels)
        messenger = await self._connect(f"{self._name} probe")
        try:
            await messenger.execute(sql.SQL("notify {}").format(sql.Identifier(probe)))
        finally:
            await messenger.close()
        if not await self._arrives(connection, probe):
            raise psycopg.OperationalError(
                "a notification did not arrive: LISTEN does not work behind a transaction pooler; "
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


async def _ping(connection: psycopg.AsyncConnection) -> None:
    """Have PostgreSQL answer a Sync, which is no statement. Raises psycopg.Error when it does not, or not soon."""
    is_over = False

    async def give_up() -> None:
        try:
            await anyio.sleep(PROBE_SECONDS)
        finally:
            # When we are cancelled, too: psycopg leaves no pipeline half-way without complaints, some much later.
            if not is_over:
                hang_up(connection)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(give_up)
        with anyio.CancelScope(shield=True), suppress(psycopg.Error):
            async with connection.pipeline():
                pass
        is_over = True
        tasks.cancel_scope.cancel()
    await anyio.lowlevel.checkpoint_if_cancelled()
    if connection.closed:
        raise psycopg.OperationalError("PostgreSQL does not answer on the connection that listens")


def hang_up(connection: psycopg.AsyncConnection) -> None:
    """Break the connection under a statement that waits for its answer: it fails at once, with an OperationalError.

    Cancelling would wait for a cancel request first, at the door of who does not answer.
    """
    # Ended just now by somebody else: nobody waits.
    with suppress(OSError, psycopg.Error):
        # Not a duplicate: there may be no descriptor left.
        same = socket.socket(fileno=connection.fileno())
        try:
            same.shutdown(socket.SHUT_RDWR)
        finally:
            same.detach()


def notified_ids(payload: str) -> list[str]:
    """The ids in a payload, comma-separated, as texts; anybody may notify, so anything may stand there.

    As texts, because most are of no interest here, and to make an id of each would cost more than all the rest.
    """
    return _ID.findall(payload)
