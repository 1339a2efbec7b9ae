"""Connections of clients, below aiohttp's middlewares: which are taken, what they are told, which are given up."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from typing import Final
from uuid import uuid4

import anyio
from aiohttp import web
from aiohttp.web_exceptions import HTTPException
from multidict import istr

from aiserv.http.unread import Unread
from aiserv.problems import Problem
from aiserv.wake import Wake

# Taken beyond the most while nobody is idle, for those who ask whether the process is well.
PROBE_CONNECTIONS: Final = 32
REQUEST_ID: Final = web.RequestKey("request_id", str)
# Looked up as it is: any other name is made lower-case first, each time.
REQUEST_ID_HEADER: Final = istr("X-Request-Id")


def problem_response(problem: Problem, request: web.BaseRequest) -> web.Response:
    """The problem as RFC 9457 wants it answered, with the id of the request, or one of its own."""
    request_id = request.get(REQUEST_ID) or uuid4().hex
    return web.Response(
        text=json.dumps(problem.body(request_id)),
        status=problem.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", REQUEST_ID_HEADER: request_id, **problem.headers},
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
    of its request until it is told to continue: RFC 9110, section 10.1.1; `is_asked`, that a request has no answer yet.
    """

    __slots__ = ("_given_up", "has_answered", "is_asked", "is_body_held", "is_extra", "server", "wait")

    # Not aiohttp's own name for it, which is gone with the connection.
    server: "Server"
    is_extra: bool
    is_body_held: bool
    has_answered: bool
    is_asked: bool
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
        self.is_asked = False
        self.wait = None
        if isinstance(transport, asyncio.WriteTransport):
            # Told of every byte that waits, and not only of 64 KiB: those that nobody takes hold a connection, too.
            transport.set_write_buffer_limits(0)
        super().connection_made(transport)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self.transport is not None:
            transport = self.transport
            self.server.unread.add(self, transport.get_write_buffer_size(), partial(self._give_up, transport))

    def resume_writing(self) -> None:
        super().resume_writing()
        self.server.unread.discard(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.server.unread.discard(self)
        super().connection_lost(exc or self._given_up)
        if self.wait is not None:
            self.wait.cancel()

    def _give_up(self, transport: asyncio.Transport) -> None:
        self._given_up = ConnectionAbortedError("the client does not read its answer")
        transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            # Logs it, and refuses when an answer has begun already.
            super().handle_error(request, status, exc, message)
            problem = Problem("internal", "an error of ours; the log has it")
        else:
            problem = Problem("invalid_request", "the request is not valid HTTP")
        response = problem_response(problem, request)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        # What aiohttp refuses before the middlewares, as an expectation that nobody can meet.
        if resp.status >= HTTPStatus.BAD_REQUEST and isinstance(resp, HTTPException):
            resp = problem_response(Problem("invalid_request", resp.text or resp.reason), request)
        self.has_answered = True
        if self.server.are_last and not resp.prepared:
            resp.force_close()
        if self.is_body_held:
            # Nothing to read away for; and whether the body follows all the same, nobody knows.
            self._lingering_time = 0.0
            resp.force_close()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            # Not before the kernel has its last byte: a stop waits for that.
            self.is_asked = False
            self.server.answered()


class Server(web.Server):
    most_connections: int
    unread: Unread
    # Not aiohttp's own list: there a connection whose client has gone stays until its request is answered.
    open_connections: int = 0
    # Then every answer closes its connection: an idle one is closed at the end, whatever is on its way to it.
    are_last: bool = False
    answered: Wake

    @property
    def asked(self) -> set[RequestHandler]:
        """Whose requests have no answer yet."""
        return {each for each in self._connections if isinstance(each, RequestHandler) and each.is_asked}

    @property
    def has_newcomers(self) -> bool:
        """Whether somebody is connected who has never been answered."""
        handlers = (each for each in self._connections if isinstance(each, RequestHandler))
        return any(each.transport is not None and not each.has_answered for each in handlers)

    def __call__(self) -> RequestHandler:
        handler = RequestHandler(self, loop=self._loop, **self._kwargs)
        handler.server = self
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
