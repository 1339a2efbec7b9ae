"""Connections of clients, below aiohttp's middlewares: which are taken, what they are told, which are given up."""

import asyncio
import json
import os
import socket
import struct
import sys
from array import array
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final
from uuid import uuid4

import anyio
from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.web_exceptions import HTTPException
from multidict import CIMultiDict, CIMultiDictProxy

from aiserv.problems import Problem
from aiserv.unread import Unread

SERVER_ERROR: Final = 500
# For who has connected at the last moment to say what for.
GREETING_STEPS: Final = 50
GREETING_STEP_SECONDS: Final = 0.01
# Taken beyond the most while nobody is idle, for those who ask whether the process is well.
PROBE_CONNECTIONS: Final = 32
# A filter of packets, https://docs.kernel.org/networking/filter.html: those that ask for a connection are dropped. It
# loads the flags of the TCP header, and tests SYN; so many bytes of the packet are then taken.
NO_NEWCOMERS: Final = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
SO_ATTACH_FILTER: Final = 26  # of Linux; Python does not name it
REQUEST_ID: Final = web.RequestKey("request_id", str)


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
        if isinstance(protocol, RequestHandler):
            protocol.wait = scope
        if is_gone():
            scope.cancel()
        try:
            yield scope
        finally:
            if isinstance(protocol, RequestHandler):
                protocol.wait = None
    if scope.cancelled_caught and is_gone():
        raise ConnectionResetError("the client has gone")


async def ask_for_body(request: web.Request) -> None:
    """Tell the client to send its body, if it waits for that: then nobody sends what would be refused by its head."""
    protocol = request.protocol
    if isinstance(protocol, RequestHandler) and protocol.is_body_held:
        protocol.is_body_held = False
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # nothing of the answer has been sent


class RequestHandler(web.RequestHandler):
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
        if isinstance(self._manager, Server) and self.transport is not None:
            transport = self.transport
            self._manager.unread.add(self, transport.get_write_buffer_size(), partial(self._give_up, transport))

    def resume_writing(self) -> None:
        super().resume_writing()
        if isinstance(self._manager, Server):
            self._manager.unread.discard(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        if isinstance(self._manager, Server):
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


class Server(web.Server):
    most_connections: int
    unread: Unread
    # Not aiohttp's own list: there a connection whose client has gone stays until its request is answered.
    open_connections: int = 0

    @property
    def has_newcomers(self) -> bool:
        """Whether somebody is connected who has never been answered."""
        handlers = (each for each in self._connections if isinstance(each, RequestHandler))
        return any(each.transport is not None and not each.has_answered for each in handlers)

    def __call__(self) -> RequestHandler:
        handler = RequestHandler(self, loop=self._loop, **self._kwargs)
        handler.is_extra = False
        handler.is_body_held = False
        return handler

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.open_connections += 1
        count = self.open_connections
        if count <= self.most_connections or not isinstance(handler, RequestHandler):
            return
        others = (each for each in self._connections if isinstance(each, RequestHandler) and each is not handler)
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


class Runner(web.AppRunner):
    def __init__(self, application: web.Application, *, most_connections: int, unread: Unread, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(application, **options)
        self._most_connections = most_connections
        self._unread = unread

    async def stop_listening(self) -> None:
        """Take the connections that the kernel has made already: it resets those that nobody has taken by the end.

        On Linux it makes no more of them meanwhile: who asks then asks again a second later, and finds a successor or
        a closed port. Elsewhere it may reset those that come in the microseconds between the last look and the close.
        """
        clients: list[socket.socket] = []
        for site in self.sites:
            listens: Any = site._server  # noqa: SLF001 - aiohttp has no other way
            for listening in listens.sockets:
                with socket.socket(fileno=os.dup(listening.fileno())) as same, suppress(OSError):
                    _keep_newcomers_out(same)
                    while True:
                        clients.append(same.accept()[0])
            # Closes at once: until then nothing is awaited.
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
            if not (isinstance(self.server, Server) and self.server.has_newcomers):
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
            if isinstance(protocol, RequestHandler):
                protocol.is_body_held = expects and message.version >= HttpVersion11
            return server.request_factory(message, payload, protocol, *arguments)

        made = Server(server.request_handler, request_factory=make_request, **self._kwargs)
        made.most_connections = self._most_connections
        made.unread = self._unread
        return made


def _keep_newcomers_out(listening: socket.socket) -> None:
    if sys.platform == "linux":
        steps = array("B", b"".join(struct.pack("HBBI", *step) for step in NO_NEWCOMERS))
        address, _ = steps.buffer_info()
        with suppress(OSError):  # where a sandbox knows no filters
            listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(NO_NEWCOMERS), address))
