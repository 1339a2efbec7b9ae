"""PgQueuer: asyncpg to work, its own autovacuum settings, batches of 100; psycopg to create, where it is faster."""

import asyncio
import json
import sys
from datetime import timedelta

import asyncpg
import psycopg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, PsycopgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from tests.bench.subjects.reporting import Starts, create_for, database_url, left, payload, run, say

ENTRYPOINT = "bench"
BATCH = 100
CREATORS = 16


async def install(url: str) -> None:
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await queries.optimize_autovacuum()
    await connection.close()


def fill(url: str, count: int) -> None:
    """By its own insert: one statement, whose trigger announces it once."""

    async def enqueue() -> None:
        connection = await asyncpg.connect(url)
        body = json.dumps(payload()).encode()
        await Queries(AsyncpgDriver(connection)).enqueue([ENTRYPOINT] * count, [body] * count, [0] * count)
        await connection.close()

    asyncio.run(enqueue())


def is_drained(connection: psycopg.Connection) -> bool:
    row = connection.execute("select not exists (select from pgqueuer)").fetchone()
    return bool(row and row[0])


async def drain(every: int) -> None:
    worker = PgQueuer.from_asyncpg_connection(await asyncpg.connect(database_url()))
    starts = Starts(every)

    @worker.entrypoint(ENTRYPOINT)
    async def noop(_job: Job) -> None:
        starts()

    task = asyncio.create_task(worker.run(batch_size=BATCH, dequeue_timeout=timedelta(seconds=30)))
    say(port=0)
    await left()
    worker.shutdown.set()
    task.cancel()


async def create() -> None:
    drivers = [
        PsycopgDriver(await psycopg.AsyncConnection.connect(database_url(), autocommit=True)) for _ in range(CREATORS)
    ]
    queues = [Queries(driver) for driver in drivers]
    body = json.dumps(payload()).encode()
    await create_for(lambda lane: queues[lane].enqueue(ENTRYPOINT, body), CREATORS)


if __name__ == "__main__":
    run(create() if sys.argv[1] == "create" else drain(int(sys.argv[2])))
