"""The housekeeping of a server keeps pace with what its callers leave behind."""

import json
from datetime import timedelta

import anyio
import psycopg

from aiserv.database import Database
from aiserv.sweeper import Sweeper
from tests.waiting import until

PIECES = 3
JOB = {"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"}


async def test_a_backlog_of_old_jobs_is_pruned_piece_by_piece_though_nobody_wakes_the_sweeper(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("select count(*) from aiserv.create_jobs(jobs => %s)", [json.dumps([JOB] * (PIECES * 1000))])
        db.execute("select count(*) from aiserv.cancel_jobs(match_all => true)")

        async with Database.open(conninfo, size=1, name="sweeper") as database, anyio.create_task_group() as tasks:
            tasks.start_soon(Sweeper(database, timedelta(microseconds=1)).run)
            await until(lambda: not db.execute("select from aiserv.job").fetchall())
            tasks.cancel_scope.cancel()
