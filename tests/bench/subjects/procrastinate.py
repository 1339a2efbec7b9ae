"""Procrastinate, whose creates are compared with ours: a pool of 16 connections, 16 defers in flight."""

import sys

import procrastinate

from tests.bench.subjects.reporting import create_for, database_url, payload, run

CREATORS = 16


def application(url: str) -> procrastinate.App:
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=CREATORS, max_size=CREATORS)
    return procrastinate.App(connector=connector)


async def install(url: str) -> None:
    async with application(url).open_async() as opened:
        await opened.schema_manager.apply_schema_async()


async def create() -> None:
    app = application(database_url())

    @app.task(name="noop")
    async def noop(text: str) -> None:
        """Nothing is done: only creates are measured."""

    async with app.open_async():
        await create_for(lambda _lane: noop.defer_async(**payload()), CREATORS)


if __name__ == "__main__":
    assert sys.argv[1] == "create"
    run(create())
