"""How many connections a process takes: idle ones give way, and probes are answered whatever happens."""

import errno
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta

import anyio
import pytest
from aiohttp import web
from anyio.abc import SocketStream

from aiserv.http.connections import PROBE_CONNECTIONS
from aiserv.http.runner import Runner
from aiserv.http.serving import _spare_files, serving
from tests.waiting import SOON, until

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"


class Crowd:
    """A server with room for three, whose `/busy` is answered when `done` is set."""

    def __init__(self, port: int, done: anyio.Event, stack: AsyncExitStack) -> None:
        self._port = port
        self._stack = stack
        self.done = done
        self.busy = 0

    async def comes(self, path: str | None = None) -> SocketStream:
        """A new connection, with a request for this path if there is one."""
        stream = await self._stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", self._port))
        if path is not None:
            await stream.send(GET.format(path).encode())
        return stream

    async def all_are_busy(self) -> None:
        for _ in range(3):
            await self.comes("/busy")
        await until(lambda: self.busy == 3)


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    done = anyio.Event()

    async def busy(_request: web.Request) -> web.Response:
        made.busy += 1
        await done.wait()
        return web.Response()

    async def fine(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/busy", busy), web.get("/healthz", fine), web.get("/quick", fine)])
    async with (
        serving(app, "127.0.0.1", 0, shutdown_timeout=timedelta(0), most_connections=3) as port,
        AsyncExitStack() as stack,
    ):
        made = Crowd(port, done, stack)
        yield made
        done.set()


async def first_line(stream: SocketStream) -> str:
    with anyio.fail_after(SOON):
        return (await stream.receive()).decode().partition("\r\n")[0]


async def is_closed(stream: SocketStream) -> bool:
    with anyio.fail_after(SOON):
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return True
        return False


async def test_the_longest_idle_connection_gives_way_to_a_newcomer(crowd: Crowd) -> None:
    oldest, *_ = [await crowd.comes() for _ in range(3)]

    newcomer = await crowd.comes("/quick")

    assert await is_closed(oldest)
    assert await first_line(newcomer) == "HTTP/1.1 200 OK"


async def test_a_connection_with_a_request_never_gives_way(crowd: Crowd) -> None:
    busy = await crowd.comes("/busy")
    await until(lambda: crowd.busy)

    for _ in range(20):
        assert await first_line(await crowd.comes("/quick")) == "HTTP/1.1 200 OK"

    crowd.done.set()
    assert await first_line(busy) == "HTTP/1.1 200 OK"


async def test_when_all_are_busy_probes_are_answered_and_others_told_to_come_again(crowd: Crowd) -> None:
    await crowd.all_are_busy()

    assert await first_line(await crowd.comes("/healthz")) == "HTTP/1.1 200 OK"
    assert await first_line(await crowd.comes("/quick")) == "HTTP/1.1 503 Service Unavailable"


async def test_who_has_gone_while_busy_keeps_no_place(crowd: Crowd) -> None:
    leaving = [await crowd.comes("/busy") for _ in range(3)]
    await until(lambda: crowd.busy == 3)

    for stream in leaving:
        await stream.aclose()

    with anyio.fail_after(SOON):
        while await first_line(await crowd.comes("/quick")) != "HTTP/1.1 200 OK":
            pass


@pytest.mark.parametrize(
    ("files", "connections"),
    [(64, 32), (1024, 768), (1_048_576, 50_000), (resource.RLIM_INFINITY, 50_000)],
)
def test_some_files_are_kept_and_connections_bounded(
    monkeypatch: pytest.MonkeyPatch, files: int, connections: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))

    assert _spare_files() == connections


async def test_idle_newcomers_do_not_keep_probes_out(crowd: Crowd) -> None:
    await crowd.all_are_busy()
    for _ in range(PROBE_CONNECTIONS + 10):
        await crowd.comes()

    assert await first_line(await crowd.comes("/healthz")) == "HTTP/1.1 200 OK"


async def test_who_takes_a_place_for_probes_is_answered_no_more_than_they(crowd: Crowd) -> None:
    await crowd.all_are_busy()
    idle = await crowd.comes()

    newcomer = await crowd.comes("/quick")

    assert await is_closed(idle)
    assert await first_line(newcomer) == "HTTP/1.1 503 Service Unavailable"


@pytest.mark.parametrize(
    ("body", "count"),
    [
        pytest.param(b"1\r\nx\r\n", 33, id="more requests than are parsed at once"),
        pytest.param(b"1\r\nx\r\n" * 16_385, 1, id="more chunks than are kept for a reader"),
    ],
)
async def test_who_sends_the_next_requests_together_is_answered_them_all(body: bytes, count: int) -> None:
    heads = 0

    async def read(request: web.Request) -> web.Response:
        nonlocal heads
        heads += 1
        return web.Response(text=f"{len(await request.read())} bytes.")

    async def answers(count: int) -> bytes:
        said = b""
        while said.count(b" bytes.") < count:
            said += await stream.receive()
        return said

    app = web.Application()
    app.add_routes([web.post("/read", read)])
    head = b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with (
        serving(app, "127.0.0.1", 0, shutdown_timeout=timedelta(0)) as port,
        await anyio.connect_tcp("127.0.0.1", port) as stream,
    ):
        with anyio.fail_after(SOON):
            # Its body comes late: by then somebody waits for it.
            await stream.send(head)
            await until(lambda: heads)
            await stream.send(body + b"0\r\n\r\n")
            await answers(1)
            await stream.send((head + b"5\r\n12345\r\n0\r\n\r\n") * count)
            said = await answers(count)

    assert said.count(b"5 bytes.") == count


async def test_at_a_stop_a_machine_that_stands_still_takes_no_time_from_who_has_connected() -> None:
    async def fine(_request: web.Request) -> web.Response:
        return web.Response()

    async def speak_late(stream: SocketStream) -> None:
        await anyio.sleep(0.05)  # by now the server stops
        time.sleep(0.6)  # noqa: ASYNC251 - nobody has this time
        await anyio.sleep(0.02)
        await stream.send(GET.format("/quick").encode())
        said.append(await first_line(stream))

    app, said = web.Application(), list[str]()
    app.add_routes([web.get("/quick", fine)])

    async with (
        AsyncExitStack() as stack,
        anyio.create_task_group() as tasks,
        serving(app, "127.0.0.1", 0, shutdown_timeout=timedelta(seconds=SOON)) as port,
    ):
        stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
        tasks.start_soon(speak_late, stream)

    assert said == ["HTTP/1.1 200 OK"]


async def test_a_stop_waits_until_a_long_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 16 * 1024 * 1024
    closing = anyio.Event()
    close = Runner.cleanup

    async def closed(runner: Runner) -> None:
        closing.set()
        await close(runner)

    async def long(_request: web.Request) -> web.Response:
        return web.Response(body=bytes(size))

    async def read_late(stream: SocketStream) -> None:
        # Time for a stop that does not wait; one that does goes on as soon as this is over.
        with anyio.move_on_after(0.2):
            await closing.wait()
        was_closing.append(closing.is_set())
        while True:
            try:
                read.append(len(await stream.receive()))
            except anyio.EndOfStream:
                return

    monkeypatch.setattr(Runner, "cleanup", closed)
    app, read, was_closing = web.Application(), list[int](), list[bool]()
    app.add_routes([web.get("/long", long)])

    async with (
        AsyncExitStack() as stack,
        anyio.create_task_group() as tasks,
        serving(app, "127.0.0.1", 0, shutdown_timeout=timedelta(seconds=SOON)) as port,
    ):
        stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
        await stream.send(GET.format("/long").encode())
        read.append(len(await stream.receive(1)))
        tasks.start_soon(read_late, stream)

    assert was_closing == [False]
    assert sum(read) > size


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels cannot be told to make no more connections")
async def test_who_connects_between_the_last_look_and_the_close_is_not_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    close = web.TCPSite.stop
    with socket.socket() as client:
        client.settimeout(0)

        async def close_late(site: web.TCPSite) -> None:
            client.connect_ex(("127.0.0.1", port))
            await close(site)

        monkeypatch.setattr(web.TCPSite, "stop", close_late)
        async with serving(web.Application(), "127.0.0.1", 0, shutdown_timeout=timedelta(seconds=SOON)) as port:
            pass
        with anyio.fail_after(SOON):
            await anyio.wait_writable(client)

        # Refused when it asked again, or taken by whoever listens there by then.
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in {0, errno.ECONNREFUSED}
