"""Clients that take their time, and clients that ask before they send: neither holds the server up."""

import json
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession

from aiserv.http.serving import USUAL_DEADLINES, Deadlines
from tests.api.client import CHAT, Api
from tests.api.conftest import Start
from tests.api.waits import Waits
from tests.waiting import SOON, until

HEAD = b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
BODY = json.dumps(CHAT).encode()


async def dribble(
    port: int, begin: bytes, drop: bytes, meanwhile: Callable[[bytearray], Coroutine[Any, Any, object]] | None = None
) -> bytes:
    """What the server says to one who begins so, and then sends a drop every now and then; `meanwhile` sees it come."""
    received = bytearray()
    async with await anyio.connect_tcp("127.0.0.1", port) as stream, anyio.create_task_group() as tasks:

        async def drip() -> None:
            try:
                while True:
                    await stream.send(drop)
                    await anyio.sleep(0.05)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

        await stream.send(begin)
        if drop:
            tasks.start_soon(drip)
        if meanwhile:
            tasks.start_soon(meanwhile, received)
        with anyio.fail_after(SOON):
            try:
                async for part in stream:
                    received += part
                    if begin.startswith(b"POST"):
                        break
            except anyio.BrokenResourceError:
                pass
        tasks.cancel_scope.cancel()
    return bytes(received)


@pytest.mark.parametrize(
    ("begin", "drop"),
    [
        pytest.param(b"", b"", id="nothing is sent"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nX-Slow: ", b"a", id="a head comes drop by drop"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", b"", id="no second request comes"),
        pytest.param(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /", b"a", id="the head of a second one"),
    ],
)
async def test_a_connection_without_a_whole_head_is_closed_in_time(start: Start, begin: bytes, drop: bytes) -> None:
    server = start()
    asked = begin.count(b"\r\n\r\n")

    async def let_time_pass(received: bytearray) -> None:
        await until(lambda: received.count(b"HTTP/1.1 200") == asked)
        while True:
            # Again and again: for the server it may begin only now.
            server.let_pass(USUAL_DEADLINES.idle)
            await anyio.sleep(1)

    answers = await dribble(server.port, begin, drop, let_time_pass)

    assert answers.count(b"HTTP/1.1 200") == asked


async def test_a_body_that_does_not_arrive_in_time_is_refused(start: Start) -> None:
    port = start(Deadlines(body=0.3)).port

    answer = await dribble(port, HEAD + b"Content-Length: 100000\r\n\r\n{", b" ")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"the body did not arrive within 0.3 seconds" in answer


async def test_who_waits_for_an_answer_is_not_idle(start: Start, session: ClientSession, waits: Waits) -> None:
    server = start(Deadlines(idle=SOON, body=SOON))
    api = Api(session, server.port)
    job = await api.create()

    async def let_time_pass_and_finish() -> None:
        # Less than a statement is given, for one may be under way.
        server.let_pass(1.5 * SOON)
        await api.finish()

    answer = await waits.answer(api.get(f"jobs/{job['id']}?wait=300s"), let_time_pass_and_finish)

    assert answer.job["status"] == "completed"


async def test_clients_that_never_read_their_answers_hold_nobody_up(start: Start, session: ClientSession) -> None:
    """Each has asked for more than the buffers of two sockets hold; no connection to PostgreSQL waits for them."""
    api = Api(session, start(DATABASE_POOL_SIZE="2", HTTP_SHUTDOWN_TIMEOUT="1s").port)
    small = await api.create()
    job = await api.create(input={"text": "x" * 12_000_000})
    question = f"GET /api/v1/jobs/{job['id']} HTTP/1.1\r\nHost: a\r\n\r\n".encode()

    async with AsyncExitStack() as stack:
        for _ in range(3):
            stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", api.port))
            await stream.send(question)
            assert (await stream.receive(1)) == b"H"

        with anyio.fail_after(SOON):
            read = await api.get(f"jobs/{small['id']}")
            created = await api.create()

    assert (read.status, created["status"]) == (200, "pending")


async def unknown_token(api: Api) -> bytes:
    return HEAD + b"Authorization: Bearer wrong\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"


async def unknown_path(api: Api) -> bytes:
    return HEAD.replace(b"/jobs", b"/nothing") + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n"


async def too_large(api: Api) -> bytes:
    return HEAD + TOKEN + b"Content-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"


async def no_json(api: Api) -> bytes:
    return (
        HEAD.replace(b"application/json", b"text/html") + TOKEN + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    )


TOKEN = b"Authorization: Bearer secret\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [(unknown_token, 401), (unknown_path, 401), (too_large, 413), (no_json, 415)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
async def test_who_asks_before_sending_is_refused_by_the_head_alone(
    start: Start, session: ClientSession, head: Callable[[Api], Awaitable[bytes]], status: int
) -> None:
    api = Api(session, start(AI_SERVICE_TOKEN="secret").port)

    answer = await api.raw(await head(api))

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"100 Continue" not in answer
    assert b"Connection: close" in answer


async def test_who_asks_before_sending_is_told_to_continue_once_all_is_well(
    start: Start, session: ClientSession
) -> None:
    api = Api(session, start(AI_SERVICE_TOKEN="secret").port)
    head = HEAD + TOKEN + f"Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n".encode()

    async with await anyio.connect_tcp("127.0.0.1", api.port) as stream:
        with anyio.fail_after(SOON):
            await stream.send(head)
            told = await stream.receive()
            await stream.send(BODY)
            answer = await stream.receive()

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 201 ")


async def test_http_1_0_knows_no_continue(start: Start, session: ClientSession) -> None:
    api = Api(session, start().port)
    head = (
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + f"Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n".encode()
    )

    answer = await api.raw(head + BODY)

    assert answer.startswith(b"HTTP/1.0 201 ")
