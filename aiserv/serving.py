"""An aiohttp application on a port: problems for what its parser refuses, and a stop that lets requests finish."""

import asyncio
import json
import os
import resource
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

import anyio
from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.typedefs import Handler
from aiohttp.web_exceptions import HTTPException
from multidict import CIMultiDict, CIMultiDictProxy

from aiserv.problems import Problem, unavailable
from aiserv.unread import Unread
from aiserv.wake import Wake

MAX_HEAD_BYTES: Final = 32 * 1024
BACKLOG: Final = 1024
SERVER_ERROR: Final = 500
# For slow readers to take the last bytes of their answers.
CLOSING_SECONDS: Final = 1.0
LINGERING_SECONDS: Final = 2.0
# For who has connected at the last moment to say what for.
GREETING_STEPS: Final = 50
GREETING_STEP_SECONDS: Final = 0.01
# Files that are not clients' connections: to PostgreSQL, to providers, to a listener that has to come back.
KEPT_FILES: Final = 256
MOST_CONNECTIONS: Final = 50_000
# Taken beyond the most while nobody is idle, for those who ask whether the process is well.
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
PROBE_CONNECTIONS: Final = 32
REQUEST_ID: Final = web.RequestKey("request_id", str)


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
    runner = _Runner(
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


def problem_response(problem: Problem, request: web.BaseRequest) -> web.Response:
    """The problem as RFC 9457 wants it answered, with the id of the request, or one of its own."""
    request_id = request.get(REQUEST_ID) or uuid4().hex
    return web.Response(
        text=json.dumps(problem.body(request_id)),
        status=problem.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", "X-Request-Id": request_id, **problem.headers},
    )


@contextmanager
def while_connected(request: web.BaseRequest, until: float) -> Iterator[anyio.CancelScope]:
    """A scope that ends at this moment, or when the client goes: then it raises ConnectionResetError.

    For waits alone: around a query it would cost a connection to PostgreSQL, and around a claim its jobs.
    """
    protocol = request.protocol

    def is_gone() -> bool:
        return request.transport is None or request.transport.is_closing()

    with anyio.CancelScope(deadline=until) as scope:
        if isinstance(protocol, _RequestHandler):
            protocol.wait = scope
        if is_gone():
            scope.cancel()
        try:
            yield scope
        finally:
            if isinstance(protocol, _RequestHandler):
                protocol.wait = None
    if scope.cancelled_caught and is_gone():
        raise ConnectionResetError("the client has gone")


async def ask_for_body(request: web.Request) -> None:
    """Tell the client to send its body, if it waits for that: then nobody sends what would be refused by its head."""
    protocol = request.protocol
    if isinstance(protocol, _RequestHandler) and protocol.is_body_held:
        protocol.is_body_held = False
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer has been sent


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
    return isinstance(request.protocol, _RequestHandler) and request.protocol.is_extra and request.path not in PROBES


def _too_many(request: web.Request) -> web.Response:
    response = problem_response(unavailable("too many connections"), request)
    response.force_close()
    return response


class _RequestHandler(web.RequestHandler):
    """Answers what aiohttp's parser refuses as a problem, too: that happens below all middlewares.

    `is_extra` says that it came when all connections were in use; `is_body_held`, that the client holds back the body
    of its request until it is told to continue: RFC 9110, section 10.1.1.
    """

    __slots__ = ("_given_up", "has_answered", "is_body_held", "is_extra", "wait")

    is_extra: bool
    is_body_held: bool
    has_answered: bool
    # What its request waits in, if it does.
    wait: anyio.CancelScope | None
    # Why it was broken off by us: to whoever still writes, an answer that was cut short is none.
    _given_up: ConnectionError | None

    @property
    def is_idle(self) -> bool:
        """Whether it has no request, and has not been closed already."""
        return not self._request_in_progress and self.transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._given_up = None
        self.has_answered = False
        self.wait = None
        if isinstance(transport, asyncio.WriteTransport):
            # Told of every byte that waits, and not only of 64 KiB: those that nobody takes hold a connection, too.
            transport.set_write_buffer_limits(0)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        if isinstance(self._manager, _Server) and self.transport is not None:
            transport = self.transport
            self._manager.unread.add(self, transport.get_write_buffer_size(), partial(self._give_up, transport))

    def resume_writing(self) -> None:
        super().resume_writing()
        if isinstance(self._manager, _Server):
            self._manager.unread.discard(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        if isinstance(self._manager, _Server):
            self._manager.unread.discard(self)
        super().connection_lost(exc or self._given_up)
        if self.wait is not None:
            self.wait.cancel()

    def _give_up(self, transport: asyncio.Transport) -> None:
        self._given_up = ConnectionAbortedError("the client does not read its answer")
        transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= SERVER_ERROR:
            # Logs it, and refuses when an answer has begun already.
            super().handle_error(request, status, exc, message)
            problem = Problem("internal", "an error of ours; the log has it")
        else:
            problem = Problem("invalid_request", "the request is not valid HTTP")
        response = problem_response(problem, request)
        response.force_close()
        return response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        # What aiohttp refuses before the middlewares, as an expectation that nobody can meet.
        if resp.status >= 400 and isinstance(resp, HTTPException):  # noqa: PLR2004 - errors
            resp = problem_response(Problem("invalid_request", resp.text or resp.reason), request)
        self.has_answered = True
        if self.is_body_held:
            # Nothing to read away for; and whether the body follows all the same, nobody knows.
            self._lingering_time = 0.0
            resp.force_close()
        return super().finish_response(request, resp, start_time)


class _Server(web.Server):
    most_connections: int
    unread: Unread
    # Not aiohttp's own list: there a connection whose client has gone stays until its request is answered.
    open_connections: int = 0

    @property
    def has_newcomers(self) -> bool:
        """Whether somebody is connected who has never been answered."""
        handlers = (each for each in self._connections if isinstance(each, _RequestHandler))
        return any(each.transport is not None and not each.has_answered for each in handlers)

    def __call__(self) -> _RequestHandler:
        handler = _RequestHandler(self, loop=self._loop, **self._kwargs)
        handler.is_extra = False
        handler.is_body_held = False
        return handler

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.open_connections += 1
        count = self.open_connections
        if count <= self.most_connections or not isinstance(handler, _RequestHandler):
            return
        others = (each for each in self._connections if isinstance(each, _RequestHandler) and each is not handler)
        longest_idle = next((each for each in others if each.is_idle), None)
        if longest_idle is not None:
            # In its place, which may be one of those for probes.
            handler.is_extra = longest_idle.is_extra
            longest_idle.force_close()
        elif count <= self.most_connections + PROBE_CONNECTIONS:
            handler.is_extra = True
        else:
            handler.force_close()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self.open_connections -= 1


class _Runner(web.AppRunner):
    def __init__(self, application: web.Application, *, most_connections: int, unread: Unread, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(application, **options)
        self._most_connections = most_connections
        self._unread = unread

    async def stop_listening(self) -> None:
        """Take the connections that the kernel has made already: it resets those that nobody has taken by the end."""
        clients: list[socket.socket] = []
        for site in self.sites:
            listens: Any = site._server  # noqa: SLF001 - aiohttp has no other way
            for listening in listens.sockets:
                with socket.socket(fileno=os.dup(listening.fileno())) as same, suppress(OSError):
                    while True:
                        clients.append(same.accept()[0])
            # Closes before anybody else can connect: until then nothing is awaited.
            await site.stop()
        serve: Any = self.server
        for client in clients:
            with suppress(OSError):
                await asyncio.get_running_loop().connect_accepted_socket(serve, client)

    async def greet_last(self) -> None:
        """Wait until everybody who is connected has been answered once, but not for long."""
        # Half a second in steps, and not until a moment: while the machine stands still, nobody can say anything.
        for _ in range(GREETING_STEPS):
            await anyio.sleep(GREETING_STEP_SECONDS)
            if not (isinstance(self.server, _Server) and self.server.has_newcomers):
                return

    async def _make_server(self) -> web.Server:
        # aiohttp has no public way to choose the class of request handlers.
        server = await super()._make_server()

        def make_request(
            message: RawRequestMessage,
            payload: StreamReader,
            protocol: web.RequestHandler,
            *arguments: Any,  # noqa: ANN401 - aiohttp's own
        ) -> web.BaseRequest:
            # Left to itself aiohttp says "continue" before it asks anybody, to unknown paths, too.
            expects = message.headers.get("Expect", "").lower() == "100-continue"
            if expects:
                headers = CIMultiDict(message.headers)
                headers.popall("Expect")
                message = message._replace(headers=CIMultiDictProxy(headers))
            if isinstance(protocol, _RequestHandler):
                protocol.is_body_held = expects and message.version >= HttpVersion11
            return server.request_factory(message, payload, protocol, *arguments)

        made = _Server(server.request_handler, request_factory=make_request, **self._kwargs)
        made.most_connections = self._most_connections
        made.unread = self._unread
        return made
