"""Waits for what nobody announces: it lies in PostgreSQL, in a file or in another process."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import anyio
from psycopg import Connection

SOON: Final = 30.0  # seconds, for what takes milliseconds unless the machine stands still


async def until(is_true: Callable[[], object], seconds: float = SOON) -> None:
    """Wait until something is true, but not for long."""
    pause = 0.005
    with anyio.fail_after(seconds):
        while not is_true():
            await anyio.sleep(pause)
            # What has not come in a second is not worth the CPU of a look each 5 ms.
            pause = min(1.02 * pause, 0.02)


async def until_found(db: Connection[Any], query: str) -> None:
    """Wait until the query finds a row, as its backend and those of others are given time to."""
    await until(lambda: db.execute(query.encode()).fetchall())


def let_pass(seconds: float) -> None:
    """Have so much time passed for all deadlines and timers of the running loop, those of the test among them."""
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + seconds  # type: ignore[method-assign]  # it asks nobody else for the time


def waiting_for_locks(db: Connection[Any], application: str = "%") -> int:
    """How many sessions of the test's database wait for a lock; `application` is a pattern of their names."""
    return db.execute(
        """
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and application_name like %s
        """,
        [application],
    ).rowcount
