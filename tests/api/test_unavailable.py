"""What is wrong is not the request, but PostgreSQL or we: callers hear so, and no more than they need."""

import threading

import anyio
import psycopg
import pytest
from aiohttp import ClientSession
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow

from aiserv import database
from aiserv.database import Database
from tests.api.client import UNKNOWN, Api
from tests.api.conftest import Start
from tests.waiting import SOON, until


async def test_without_a_database_the_service_is_unavailable_and_says_when_to_come_again(
    start: Start,
    session: ClientSession,
    db: psycopg.Connection[DictRow],
    conninfo: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "CONNECTING_SECONDS", 0.5)
    api = Api(session, start().port)
    name = db.info.dbname
    allow = sql.SQL("alter database {} allow_connections {}")
    with psycopg.connect(conninfo.replace(name, "postgres"), autocommit=True) as administrator:
        administrator.execute(allow.format(sql.Identifier(name), sql.Literal(False)))  # noqa: FBT003 - a value of SQL
        administrator.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])

        answer = await api.get("jobs")
        administrator.execute(allow.format(sql.Identifier(name), sql.Literal(True)))  # noqa: FBT003

    assert answer.refusal == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_schema_that_does_not_fit_is_not_ready_and_says_why(api: Api, db: psycopg.Connection[DictRow]) -> None:
    ready = await api.get("/readyz")
    db.execute("delete from aiserv.installed where file like 'migrations/0001%'")

    answer = await api.get("/readyz")

    assert (ready.status, ready.json) == (200, {"status": "ok"})
    assert answer.refusal == (503, "unavailable")
    assert "the schema is not up to date: run aiserv migrate" in answer.problem["detail"]


async def test_a_role_that_may_not_use_the_schema_is_told_what_to_grant(
    start: Start, session: ClientSession, conninfo: str, db: psycopg.Connection[DictRow]
) -> None:
    as_reader = make_conninfo(conninfo, options="-c role=aiserv_readonly")

    answer = await Api(session, start(DATABASE_URL=as_reader).port).get("/readyz")

    assert answer.refusal == (503, "unavailable")
    assert "grant it aiserv_service" in answer.problem["detail"]


async def test_readiness_waits_for_no_connection_of_the_requests(
    start: Start, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, may_end = threading.Event(), threading.Event()

    async def hold(database: Database, *_: object) -> list[object]:
        async with database._pool.connection():
            held.set()
            await until(may_end.is_set, 2 * SOON)
        return []

    monkeypatch.setattr(Database, "list_jobs", hold)
    api = Api(session, start(DATABASE_POOL_SIZE="1").port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(api.get, "jobs")
        try:
            await until(held.is_set)
            with anyio.fail_after(SOON):
                ready = await api.get("/readyz")
        finally:
            may_end.set()

    assert ready.status == 200


async def test_a_bug_tells_nobody_its_details(api: Api, db: psycopg.Connection[DictRow]) -> None:
    db.execute("drop function aiserv.get_job")

    answer = await api.get(f"jobs/{UNKNOWN}")

    assert answer.refusal == (500, "internal")
    assert "aiserv" not in answer.text
    assert "function" not in answer.text
