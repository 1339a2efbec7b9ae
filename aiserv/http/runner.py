"""How aiohttp is run: with connections of ours, and an end at which nobody is left without an answer."""

import asyncio
import os
import socket
import struct
import sys
from array import array
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

import anyio
from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy

from aiserv.http.connections import RequestHandler, Server, problem_response
from aiserv.http.unread import Unread
from aiserv.problems import unavailable
from aiserv.wake import Wake

# For who has connected at the last moment to say what for.
GREETING_STEPS: Final = 50
GREETING_STEP_SECONDS: Final = 0.01
# What connections beyond the most may ask for: whether the process is well.
PROBES: Final = frozenset({"/healthz", "/readyz", "/metrics"})
# A filter of packets, https://docs.kernel.org/networking/filter.html: those that ask for a connection are dropped. It
# loads the flags of the TCP header, and tests SYN; so many bytes of the packet are then taken.
NO_NEWCOMERS: Final = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
SO_ATTACH_FILTER: Final = 26  # of Linux; Python does not name it


class Runner(web.AppRunner):
    def __init__(self, application: web.Application, *, most_connections: int, unread: Unread, **options: Any) -> None:  # noqa: ANN401 - aiohttp's own
        super().__init__(application, **options)
        self._most_connections = most_connections
        self._unread = unread

    async def stop_listening(self) -> None:
        """Take the connections that the kernel has made already: it resets those that nobody has taken by the end.

        On Linux it begins no more of them meanwhile: who asks then asks again a second later, and finds a successor or
        a closed port. Reset is who has been half-way through a handshake; elsewhere, also who comes in the microseconds
        between the last look and the close.
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

    async def answer_last(self) -> None:
        """Wait until the requests are answered that are in flight now; from now on answers close their connections."""
        if isinstance(self.server, Server):
            self.server.are_last = True
            now = self.server.asked
            while now & self.server.asked:
                await self.server.answered.next.wait()

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
            expects = hdrs.EXPECT in message.headers and message.headers[hdrs.EXPECT].lower() == "100-continue"
            if expects:
                headers = CIMultiDict(message.headers)
                headers.popall(hdrs.EXPECT)
                message = message._replace(headers=CIMultiDictProxy(headers))
            if isinstance(protocol, RequestHandler):
                protocol.is_body_held = expects and message.version >= HttpVersion11
                protocol.is_asked = True
            return server.request_factory(message, payload, protocol, *arguments)

        def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
            return _refuse(request) if _is_crowded(request) else server.request_handler(request)

        made = Server(handle, request_factory=make_request, **self._kwargs)
        made.answered = Wake()
        made.most_connections = self._most_connections
        made.unread = self._unread
        return made


def _is_crowded(request: web.BaseRequest) -> bool:
    return isinstance(request.protocol, RequestHandler) and request.protocol.is_extra and request.path not in PROBES


async def _refuse(request: web.BaseRequest) -> web.StreamResponse:
    response = problem_response(unavailable("too many connections"), request)
    response.force_close()
    return response


def _keep_newcomers_out(listening: socket.socket) -> None:
    if sys.platform == "linux":
        steps = array("B", b"".join(struct.pack("HBBI", *step) for step in NO_NEWCOMERS))
        address, _ = steps.buffer_info()
        with suppress(OSError):  # where a sandbox knows no filters
            listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(NO_NEWCOMERS), address))
