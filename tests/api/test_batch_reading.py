"""Which batches are read one at a time."""

import json
from collections.abc import Callable
from threading import Event
from typing import Any

import anyio
import pytest
from aiohttp import web

from aiserv.api import batch_body
from aiserv.api.app_keys import BATCH_READING
from aiserv.api.batch_body import Batch
from tests.api.batches import checked, lines
from tests.api.client import CHAT, Api
from tests.waiting import SOON, until


async def read_at_once(api: Api, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of two batches of two jobs are read at the same time, one as JSON and one as lines."""
    check, in_thread = batch_body._checked, batch_body._in_thread
    turns: list[anyio.CapacityLimiter] = []
    may_end = Event()
    inside = 0

    async def noted(request: web.Request, read: Callable[[bytes], Batch], body: bytes) -> Batch:
        turns.append(request.app[BATCH_READING])
        return await in_thread(request, read, body)

    def held_up(*arguments: Any) -> Batch:  # noqa: ANN401 - as it is
        nonlocal inside
        inside += 1
        assert may_end.wait(SOON)
        return check(*arguments)

    async def post() -> None:
        checked(await api.post("jobs/batch", {"jobs": [CHAT, CHAT]}))

    async def post_lines() -> None:
        checked(await lines(api, f"{json.dumps(CHAT)}\n" * 2))

    monkeypatch.setattr(batch_body, "_in_thread", noted)
    monkeypatch.setattr(batch_body, "_checked", held_up)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(post)
        tasks.start_soon(post_lines)
        try:
            await until(lambda: turns and inside + turns[0].statistics().tasks_waiting == 2)
            at_once = inside
        finally:
            may_end.set()
    return at_once


async def test_short_batches_are_read_one_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await read_at_once(api, monkeypatch) == 1


@pytest.mark.parametrize(("bound", "exceeded"), [("READ_IN_TURN_BYTES", 10), ("READ_IN_TURN_OBJECTS", 1)])
async def test_nobody_waits_for_a_batch_that_takes_long(
    api: Api, monkeypatch: pytest.MonkeyPatch, bound: str, exceeded: int
) -> None:
    monkeypatch.setattr(batch_body, bound, exceeded)

    assert await read_at_once(api, monkeypatch) == 2
