"""An aiohttp application on a port, with a stop that lets requests finish."""

import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import anyio
from aiohttp import web

from aiserv.http.runner import Runner
from aiserv.http.unread import Unread

MAX_HEAD_BYTES: Final = 32 * 1024
BACKLOG: Final = 1024
# For slow readers to take the last bytes of their answers.
CLOSING_SECONDS: Final = 1.0
LINGERING_SECONDS: Final = 2.0
# Files that are not clients' connections: to PostgreSQL, to providers, to a listener that has to come back.
KEPT_FILES: Final = 256
MAX_CONNECTIONS: Final = 50_000


@dataclass(frozen=True)
class Deadlines:
    """How many seconds a client may take.

    `idle` until the head of its next request is there, `body` to send one, `answer` to take what the kernel has no room
    for, and one more for each `slowest` bytes of that.
    """

    idle: float = 75.0
    body: float = 60.0
    answer: float = 60.0
    slowest: float = 64 * 1024


USUAL_DEADLINES: Final = Deadlines()


class ServingError(Exception):
    """Nobody can be served; the message says why."""


@asynccontextmanager
async def serving(
    application: web.Application,
    host: str,
    port: int,
    *,
    shutdown_timeout: timedelta,
    deadlines: Deadlines = USUAL_DEADLINES,
    most_connections: int | None = None,
) -> AsyncIterator[int]:
    """The port at which the application is served until the end of the block.

    It takes `most_connections` at once, by default as many as leave files for other purposes. For a newcomer beyond
    them the one that has been connected longest without a request goes; when all have one, probes alone are answered.

    Then requests in flight may finish, for as long as `shutdown_timeout`; meanwhile new ones still reach the
    application, which can say that it is stopping. Raises ServingError when the port cannot be listened on.
    """
    allow_many_connections()
    runner = Runner(
        application,
        most_connections=most_connections or _spare_files(),
        unread=Unread(deadlines.answer, deadlines.slowest),
        access_log=None,
        shutdown_timeout=CLOSING_SECONDS,
        # For a client to hear why its body is not wanted, though it goes on sending.
        lingering_time=LINGERING_SECONDS,
        max_line_size=MAX_HEAD_BYTES,
        max_field_size=MAX_HEAD_BYTES,
        keepalive_timeout=deadlines.idle,
        # aiohttp takes a stream that breaks off for a whole one: who reads bodies decompresses them.
        auto_decompress=False,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_address=True)
        try:
            await site.start()
        except OSError as error:
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise ServingError(f"cannot listen on {host} port {port}: {why}") from error
        yield runner.addresses[0][1]
        with anyio.move_on_after(shutdown_timeout.total_seconds()):
            await runner.answer_last()
            await runner.stop_listening()
            await runner.greet_last()
            await runner.answer_last()
    finally:
        await runner.cleanup()


def allow_many_connections() -> None:
    """Let the process hold as many connections as the system permits: the usual limit is 1024, and waits are cheap."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where the system knows a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _spare_files() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MAX_CONNECTIONS + KEPT_FILES if limit == resource.RLIM_INFINITY else limit
    return min(max(files - KEPT_FILES, files // 2), MAX_CONNECTIONS)
