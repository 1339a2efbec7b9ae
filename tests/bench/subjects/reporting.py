"""What the processes of peers share: the lines of JSON that ours write, too."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from importlib.util import find_spec
from typing import Any

from tests.bench.jobs import INPUT

Create = Callable[[int], Awaitable[object]]


def database_url() -> str:
    return os.environ["DATABASE_URL"]


def payload() -> dict[str, str]:
    value: dict[str, str] = json.loads(INPUT)
    return value


def say(**fields: object) -> None:
    sys.stdout.write(f"{json.dumps(fields)}\n")
    sys.stdout.flush()


class Starts:
    """Counts the starts of jobs, and reports the first and every n-th."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._started = 0

    def __call__(self, count: int = 1) -> None:
        before = self._started
        self._started += count
        if before == 0 or before // self._every != self._started // self._every:
            say(started=self._started, at=time.monotonic())


async def left() -> None:
    """Return when standard input is closed: whoever started us is gone, or has enough."""
    closed = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), closed.set)
    await closed.wait()


async def create_for(create: Create, in_flight: int) -> None:
    """On each line with seconds on standard input: create for so long with so many in flight, and report the rate."""
    loop = asyncio.get_running_loop()
    say(port=0)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        begin = time.monotonic()
        deadline = begin + float(line)
        created = await asyncio.gather(*(_create_until(deadline, create, lane) for lane in range(in_flight)))
        say(rate=sum(created) / (time.monotonic() - begin))


async def _create_until(deadline: float, create: Create, lane: int) -> int:
    count = 0
    while time.monotonic() < deadline:
        await create(lane)
        count += 1
    return count


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop, if it is there."""
    if find_spec("uvloop"):
        import uvloop  # noqa: PLC0415 - it may be missing

        uvloop.run(main)
    else:
        asyncio.run(main)
