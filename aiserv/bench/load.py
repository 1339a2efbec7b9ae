"""Load over HTTP by a client that costs little, so that the server is what is measured.

asyncio's protocols and not anyio: on two cores a slower client would be part of every figure.
"""

import asyncio
import itertools
import math
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = b"\r\ncontent-length:"
OK: Final = range(200, 300)


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
        self._received = received = self._received + data if self._received else data
        end = received.find(HEAD_END)
        if end < 0:
            return
        head = received[:end].lower()
        at = head.find(LENGTH)
        length = int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = end + len(HEAD_END)
        if len(received) < body + length:
            return
        self._received = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), received[body : body + length]))

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(LoadError("the server closed the connection"))


def request(method: str, path: str, body: bytes = b"", *, token: str | None = None) -> bytes:
    """A request as it goes over the wire."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{authorization}{content}\r\n".encode() + body


async def closed_loop(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, most: int | None = None
) -> Load:
    """Load by so many connections, each sending its next request when the last one is answered, `most` in all.

    Raises LoadError for any answer but 2xx.
    """
    load = Load()
    clients = [await HttpConnection.open(port) for _ in range(connections)]
    begin = time.monotonic()
    deadline = begin + seconds

    left = itertools.repeat(None) if most is None else itertools.repeat(None, most)

    async def send(client: HttpConnection, number: int) -> None:
        now = time.monotonic()
        while now < deadline and next(left, False) is None:
            status, answer = await client.ask(requests[number % len(requests)])
            if status not in OK:
                raise LoadError(f"HTTP {status}: {answer.decode(errors='replace')}")
            before, now = now, time.monotonic()
            load.latencies.append(now - before)
            number += 1

    try:
        await asyncio.gather(*(send(client, number) for number, client in enumerate(clients)))
    finally:
        for client in clients:
            client.close()
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
