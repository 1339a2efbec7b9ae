"""The tasks that run attempts: as many as there are that wait for something."""

import asyncio
from collections.abc import Iterator
from typing import Any

import anyio

from tests.waiting import SOON, until
from tests.workers.chats import chat_job
from workers.attempt import Attempt
from workers.followers import Followers


def attempts(count: int) -> list[Attempt]:
    return [Attempt(chat_job({})) for _ in range(count)]


async def test_one_task_runs_what_comes_one_by_one() -> None:
    ran = list[asyncio.Task[Any] | None]()

    async def run(attempts: Iterator[Attempt]) -> None:
        # The tasks themselves: the id of one that has ended may be that of the next.
        ran.extend(asyncio.current_task() for _ in attempts)

    followers = Followers(run, lambda: None)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            followers.begin(attempts(1), tasks)
            await until(lambda: not followers.busy)
        followers.end()

    assert len(ran) == 3
    assert len(set(ran)) == 1


async def test_each_attempt_that_waits_has_a_task() -> None:
    ran: list[int] = []
    may_end = anyio.Event()

    async def run(attempts: Iterator[Attempt]) -> None:
        for _ in attempts:
            ran.append(anyio.get_current_task().id)
            await may_end.wait()

    followers = Followers(run, lambda: None)
    async with anyio.create_task_group() as tasks:
        followers.begin(attempts(3), tasks)
        await until(lambda: len(ran) == 3)
        assert followers.busy == 3
        may_end.set()
        followers.end()

    assert len(set(ran)) == 3
    assert followers.busy == 0


async def run_all(attempts: Iterator[Attempt]) -> None:
    list(attempts)


async def test_no_task_stays_when_nothing_comes_any_more() -> None:
    followers = Followers(run_all, lambda: None)

    with anyio.move_on_after(SOON) as patience:
        async with anyio.create_task_group() as tasks:
            followers.begin(attempts(1), tasks)
            await until(lambda: not followers.busy)
            followers.end()

    assert not patience.cancelled_caught


async def test_what_comes_after_the_end_runs_and_leaves_no_task() -> None:
    followers = Followers(run_all, lambda: None)

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            followers.begin(attempts(1), tasks)
            await until(lambda: not followers.busy)
            followers.end()
            followers.begin(attempts(1), tasks)

    assert followers.busy == 0
