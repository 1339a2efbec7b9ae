"""Load over HTTP by clients that cost little, so that the server is what is measured.

asyncio's protocols and not anyio, and bare sockets where nothing else goes on: on two cores a slower client would be
part of every figure.
"""

import asyncio
import itertools
import math
import random
import selectors
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final

HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length:"
OK: Final = range(200, 300)
# For the last answers.
PATIENCE_SECONDS: Final = 60.0
RECEIVED_BYTES: Final = 256 * 1024


class LoadError(Exception):
    """A request was not answered as it should have been."""


@dataclass
class Load:
    """What became of a load: how many requests in how many seconds, and how many seconds each took."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds


class HttpConnection(asyncio.Protocol):
    """One connection of HTTP/1.1, one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> "HttpConnection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        self._transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        """The status and the body that will answer a request given with its head."""
        if self._transport is None:
            raise LoadError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Close it. Whoever still waits for an answer is cancelled."""
        if self._answer is not None:
            self._answer.cancel()
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        answer = _answer(self._received)
        if answer is None:
            return
        self._received = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LoadError("the server closed the connection"))


def _answer(received: bytes) -> tuple[int, bytes] | None:
    """The status and the body, once they are there."""
    end = received.find(HEAD_END)
    if end < 0:
        return None
    head = received[:end].lower()
    at = head.find(LENGTH)
    length = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    body = end + len(HEAD_END)
    return (int(head[9:12]), received[body : body + length]) if len(received) >= body + length else None


def request(method: str, path: str, body: bytes = b"", *, token: str | None = None) -> bytes:
    """A request as it goes over the wire."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{authorization}{content}\r\n".encode() + body


class _Client:
    """A connection of a closed loop; it blocks."""

    def __init__(self, connected: socket.socket) -> None:
        # As asyncio does: the end of a long request must not wait until the rest is acknowledged.
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connected
        self.asked_at = 0.0
        self._received = b""

    def ask(self, request: bytes) -> None:
        self.asked_at = time.monotonic()
        self._received = b""
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Take what has come, and say whether that is all of the answer. Raises LoadError for any but 2xx."""
        data = self.socket.recv(RECEIVED_BYTES)
        if not data:
            raise LoadError("the server closed the connection")
        self._received += data
        answer = _answer(self._received)
        if answer and answer[0] not in OK:
            raise LoadError(f"HTTP {answer[0]}: {answer[1].decode(errors='replace')}")
        return answer is not None


def closed_loop(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, most: int | None = None
) -> Load:
    """Load by so many connections, each sending the next request when its last one is answered, `most` in all.

    It blocks: no loop, no future and no task stands between a socket and its next request.
    Raises LoadError for any answer but 2xx.
    """
    load = Load()
    left = itertools.islice(itertools.cycle(requests), most)
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        addresses = [("127.0.0.1", port)] * connections
        clients = [_Client(stack.enter_context(socket.create_connection(address))) for address in addresses]
        begin = time.monotonic()
        for client, content in zip(clients, left, strict=False):
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.ask(content)
        give_up = begin + seconds + PATIENCE_SECONDS
        while selector.get_map():
            if not (ready := selector.select(max(give_up - time.monotonic(), 0))):
                raise LoadError("the server does not answer")
            for key, _ in ready:
                client = key.data
                if not client.is_answered():
                    continue
                now = time.monotonic()
                load.latencies.append(now - client.asked_at)
                following = next(left, None) if now < begin + seconds else None
                if following:
                    client.ask(following)
                else:
                    selector.unregister(client.socket)
    load.seconds = time.monotonic() - begin
    return load


async def paced(act: Callable[[], Coroutine[Any, Any, None]], rate: float, seconds: float) -> None:
    """Act at this rate, at uneven intervals as in life, whether or not the acts before have ended."""
    chance = random.Random(1)  # noqa: S311 - each run the same intervals
    begin = due = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        while due < begin + seconds:
            if (left := due - time.monotonic()) > 0:
                await asyncio.sleep(left)
            tasks.create_task(act())
            due += chance.uniform(0.5, 1.5) / rate


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]
