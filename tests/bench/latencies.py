"""Rows 10 and 11: how soon a new job starts, at a steady rate."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from typing import Final

import psycopg

from aiserv.bench.child import TASK_TYPE
from aiserv.bench.children import Child
from aiserv.bench.load import paced, percentile
from tests.bench.jobs import INPUT, OWNER, PROFILE, connected, empty
from tests.bench.processes import workers
from tests.bench.scenario import Bench, Figures, Goal, Measure, Scenario

RATE: Final = 200
# For the picture: a steady load of so many jobs a second.
LOADS: Final = (10, 50, 100, 200, 500, 1000, 2000)
LOAD_SECONDS: Final = 3.0
CONNECTIONS: Final = 8
CREATE: Final = """
    select job.id::text from aiserv.create_job(
        owner_service => %s, task_type => %s, model_profile => %s, input => %s
    ) as job
"""
MILLISECONDS: Final = 1000
PATIENCE_SECONDS: Final = 30.0


@contextmanager
def open_latencies(bench: Bench, needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """An idle worker, and a client that creates jobs through SQL: both read the one clock of the machine."""
    with ExitStack() as stack:
        url = stack.enter_context(bench.cluster.database())
        connection = stack.enter_context(connected(url))
        (worker,) = stack.enter_context(workers(bench, url, every=1))

        def steady() -> Figures:
            empty(connection)
            called, committed = pickups(worker, url, RATE, bench.sizes.paced_seconds)
            return {
                "commit_p50": percentile(committed, 50),
                "commit_p99": percentile(committed, 99),
                "call_p50": percentile(called, 50),
                "call_p99": percentile(called, 99),
            }

        def loads() -> Figures:
            points = bench.charts.setdefault("latency", [])
            # Once is enough for a picture.
            for rate in () if points else LOADS if bench.sizes.warm_up else LOADS[2:5]:
                empty(connection)
                called, _ = pickups(worker, url, rate, min(LOAD_SECONDS, bench.sizes.paced_seconds))
                points.append([rate, *(percentile(called, percent) for percent in (50, 95, 99))])
            return {}

        notify = lambda: {"notify": percentile(asyncio.run(round_trips(url, bench.sizes.paced_seconds)), 50)}  # noqa: E731 - beside the others
        yield {"steady": steady, "notify": notify, "loads": loads}


def pickups(worker: Child, url: str, rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """Milliseconds from the call of each create, and from its return, to the start of its job."""
    list(worker.messages())
    created = asyncio.run(_create(url, rate, seconds))
    starts: dict[str, float] = {}
    while len(starts) < len(created):
        message = worker.message("id")
        starts[message["id"]] = message["at"]
    return (
        [(starts[job_id] - called) * MILLISECONDS for job_id, (called, _) in created.items()],
        [(starts[job_id] - returned) * MILLISECONDS for job_id, (_, returned) in created.items()],
    )


async def _create(url: str, rate: float, seconds: float) -> dict[str, tuple[float, float]]:
    """When each create was called and when it returned, by the id of its job."""
    created: dict[str, tuple[float, float]] = {}
    async with _connections(url) as free:

        async def create() -> None:
            called = time.monotonic()
            connection = await free.get()
            cursor = await connection.execute(CREATE, [OWNER, TASK_TYPE, PROFILE, INPUT])
            returned = time.monotonic()
            free.put_nowait(connection)
            row = await cursor.fetchone()
            assert row
            created[row[0]] = called, returned

        await paced(create, rate, seconds)
    return created


async def round_trips(url: str, seconds: float) -> list[float]:
    """Milliseconds from the call of a bare pg_notify to its receipt by a connection that listens."""
    took: list[float] = []
    sent = 0
    listener = await psycopg.AsyncConnection.connect(url, autocommit=True)
    await listener.execute("listen bench")

    async def listen() -> None:
        async for notification in listener.notifies():
            heard = time.monotonic()
            took.append((heard - float(notification.payload)) * MILLISECONDS)

    hearing = asyncio.create_task(listen())
    async with _connections(url) as free:

        async def notify() -> None:
            nonlocal sent
            sent += 1
            called = time.monotonic()
            connection = await free.get()
            await connection.execute("select pg_notify('bench', %s)", [repr(called)])
            free.put_nowait(connection)

        await paced(notify, RATE, seconds)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(took) < sent:  # noqa: ASYNC110 - the last ones are on their way
            await asyncio.sleep(0.01)
    hearing.cancel()
    with suppress(asyncio.CancelledError):
        await hearing
    await listener.close()
    return took


@asynccontextmanager
async def _connections(url: str) -> AsyncIterator["asyncio.Queue[psycopg.AsyncConnection]"]:
    """Free connections, whose statements are prepared."""
    opened = [
        await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0) for _ in range(CONNECTIONS)
    ]
    free: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()
    for connection in opened:
        free.put_nowait(connection)
    try:
        yield free
    finally:
        for connection in opened:
            await connection.close()


LATENCIES: Final = Scenario(
    [
        Goal(
            10, "at 200 jobs/s, create committed → executor starts: p50",
            2, 1.3, ("steady",), lambda run: run["commit_p50"], unit="ms", less_is_better=True,
        ),
        Goal(
            10, "the same: p99",
            10, 5, ("steady",), lambda run: run["commit_p99"], unit="ms", less_is_better=True,
        ),
        Goal(
            11, "create called → executor starts, p50 / bare NOTIFY round trip",
            4, 3, ("steady", "notify"), lambda run: run["call_p50"] / run["notify"], less_is_better=True,
        ),
    ],
    open_latencies,
    shown=("loads",),
)  # fmt: skip
