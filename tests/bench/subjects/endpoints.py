"""Bare aiohttp endpoints: one that parses a job and echoes it, and one that inserts a row for each request."""

import json
import sys
from collections.abc import AsyncIterator

from aiohttp import web
from psycopg_pool import AsyncConnectionPool

from aiserv.models import CreateJob
from tests.bench.subjects.raw import TABLE
from tests.bench.subjects.reporting import database_url, left, run, say

POOL = web.AppKey("pool", AsyncConnectionPool)
INSERT = "insert into raw_job (owner_service, task_type, model_profile, input) values (%s, %s, %s, %s) returning id"


async def echo(request: web.Request) -> web.Response:
    body = await request.read()
    CreateJob.model_validate_json(body)
    return web.Response(body=body, status=201, content_type="application/json")


async def insert(request: web.Request) -> web.Response:
    body = await request.read()
    job = CreateJob.model_validate_json(body)
    async with request.app[POOL].connection() as connection:
        values = [job.owner_service, job.task_type, job.model_profile, json.dumps(json.loads(body)["input"])]
        await connection.execute(INSERT, values)
    return web.Response(body=body, status=201, content_type="application/json")


async def pool(application: web.Application) -> AsyncIterator[None]:
    async with AsyncConnectionPool(
        database_url(), min_size=10, max_size=10, kwargs={"autocommit": True}, open=False
    ) as opened:
        async with opened.connection() as connection:
            await connection.execute(TABLE)
        application[POOL] = opened
        yield


async def main(what: str) -> None:
    application = web.Application()
    application.router.add_post("/api/v1/jobs", echo if what == "echo" else insert)
    if what == "insert":
        application.cleanup_ctx.append(pool)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    say(port=runner.addresses[0][1])
    await left()
    await runner.cleanup()


if __name__ == "__main__":
    run(main(sys.argv[1]))
