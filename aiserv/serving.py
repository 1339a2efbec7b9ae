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
from aiohttp.typedefs import Handler

from aiserv.connections import RequestHandler, Runner, problem_response
from aiserv.problems import unavailable
from aiserv.unread import Unread
from aiserv.wake import Wake

MAX_HEAD_BYTES: Final = 32 * 1024
BACKLOG: Final = 1024
# For slow readers to take the last bytes of their answers.
CLOSING_SECONDS: Final = 1.0
LINGERING_SECONDS: Final = 2.0
# Files that are not clients' connections: to PostgreSQL, to providers, to a listener that has to come back.
KEPT_FILES: Final = 256
MOST_CONNECTIONS: Final = 50_000
# What connections beyond the most may ask for: whether the process is well.
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})


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
    in_flight = _InFlight()
    application.middlewares.insert(0, in_flight.count)
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
        in_flight.are_last = True
        with anyio.move_on_after(shutdown_timeout.total_seconds()):
            await in_flight.finished()
            await runner.stop_listening()
            await runner.greet_last()
            await in_flight.finished()
    finally:
        await runner.cleanup()


def allow_many_connections() -> None:
    """Let the process hold as many connections as the system permits: the usual limit is 1024, and waits are cheap."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where the system knows a lower limit of its own
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _InFlight:
    """Knows when the last request is answered."""

    def __init__(self) -> None:
        self._requests: set[object] = set()
        self._ended = Wake()
        # Then every answer closes its connection: an idle one is closed at the end, whatever is on its way to it.
        self.are_last = False

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        this = object()
        self._requests.add(this)
        try:
            response = _too_many(request) if _is_crowded(request) else await handler(request)
        finally:
            self._requests.discard(this)
            self._ended()
        if self.are_last and not response.prepared:
            response.force_close()
        return response

    async def finished(self) -> None:
        """Wait until those are answered that are in flight now."""
        now = set(self._requests)
        while now & self._requests:
            await self._ended.next.wait()


def _spare_files() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = MOST_CONNECTIONS + KEPT_FILES if limit == resource.RLIM_INFINITY else limit
    return min(max(files - KEPT_FILES, files // 2), MOST_CONNECTIONS)


def _is_crowded(request: web.Request) -> bool:
    return isinstance(request.protocol, RequestHandler) and request.protocol.is_extra and request.path not in PROBES


def _too_many(request: web.Request) -> web.Response:
    response = problem_response(unavailable("too many connections"), request)
    response.force_close()
    return response
