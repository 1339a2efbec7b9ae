"""The lease keeper: renews, tells of what is lost, and does not give up when PostgreSQL is away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, LiteralString
from uuid import UUID

import anyio
import psycopg
import pytest
from psycopg.rows import TupleRow

from tests.waiting import until
from tests.workers.running import Db, Meddler, create, job
from workers.lease import LeaseKeeper
from workers.record import Record


class Told:
    """What the keeper said."""

    def __init__(self) -> None:
        self.lost: list[tuple[UUID, int]] = []
        self.renewed: list[tuple[UUID, int, datetime]] = []


@asynccontextmanager
async def keeping(
    conninfo: str, held: dict[UUID, int], lease: timedelta
) -> AsyncIterator[tuple[LeaseKeeper, Told, Meddler]]:
    told = Told()
    async with Meddler.open(conninfo, size=1, name="leases") as database, anyio.create_task_group() as tasks:
        keeper = LeaseKeeper(
            database,
            Record(),
            lease,
            held=lambda: held,
            lost=lambda *lost: told.lost.append(lost),
            renewed=lambda *renewed: told.renewed.append(renewed),
        )
        yield keeper, told, database
        tasks.cancel_scope.cancel()


def claim(db: Db) -> UUID:
    job_id = create(db)
    db.execute("select aiserv.claim_jobs('worker-1', lease => '1 minute')")
    return job_id


async def test_leases_are_renewed_every_third_of_their_length(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []

    def pass_at_once(seconds: float) -> anyio.CancelScope:
        pauses.append(seconds)
        return anyio.move_on_after(0)

    monkeypatch.setattr("workers.lease.anyio", SimpleNamespace(move_on_after=pass_at_once))
    job_id = claim(db)
    async with (
        keeping(conninfo, {job_id: 1}, timedelta(minutes=1)) as (keeper, told, _),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(keeper.run)

        await until(lambda: len(told.renewed) >= 3)
        tasks.cancel_scope.cancel()

    assert set(pauses) == {20.0}
    assert {(renewed_id, attempt) for renewed_id, attempt, _ in told.renewed} == {(job_id, 1)}
    assert told.renewed[0][2] < told.renewed[-1][2] <= job(db, job_id)["lease_expires_at"]


async def test_all_leases_are_renewed_in_one_statement(conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {claim(db): 1 for _ in range(3)}
    statements = []
    async with keeping(conninfo, held, timedelta(minutes=1)) as (keeper, told, database):
        send = database._rows

        async def count(query: LiteralString, parameters: dict[str, Any]) -> list[TupleRow]:
            statements.append(query)
            return await send(query, parameters)

        monkeypatch.setattr(database, "_rows", count)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keeper.run)

            await until(lambda: told.renewed)
            tasks.cancel_scope.cancel()

    assert {renewed_id for renewed_id, *_ in told.renewed} == set(held)
    assert len(statements) == 1


async def test_what_is_not_held_any_more_is_lost(conninfo: str, db: Db) -> None:
    kept, lost = claim(db), claim(db)
    db.execute("select aiserv.retry_job(%s)", [lost])
    held = {kept: 1, lost: 1}
    async with keeping(conninfo, held, timedelta(minutes=1)) as (keeper, told, _), anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.run)

        await until(lambda: told.renewed)
        tasks.cancel_scope.cancel()

    assert told.lost == [(lost, 1)]


async def test_a_lease_that_is_over_by_the_clock_of_the_worker_alone_is_kept(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = claim(db)
    async with (
        keeping(conninfo, {job_id: 1}, timedelta(minutes=1)) as (keeper, told, database),
        anyio.create_task_group() as tasks,
    ):
        renew = database.heartbeat_jobs

        async def renew_an_hour_behind(held: dict[UUID, int], lease: timedelta) -> dict[UUID, datetime]:
            renewed = await renew(held, lease)
            return {held_id: until - timedelta(hours=1) for held_id, until in renewed.items()}

        monkeypatch.setattr(database, "heartbeat_jobs", renew_an_hour_behind)
        tasks.start_soon(keeper.run)

        await until(lambda: told.renewed or told.lost)
        tasks.cancel_scope.cancel()

    assert told.lost == []


async def test_a_renewal_that_fails_loses_nothing_and_is_tried_again_at_once(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.lease.RETRY_SECONDS", 0.01)
    job_id = claim(db)

    async def fail() -> None:
        raise psycopg.OperationalError("gone")

    async with (
        keeping(conninfo, {job_id: 1}, timedelta(minutes=1)) as (keeper, told, database),
        anyio.create_task_group() as tasks,
    ):
        database.after_renewal = fail
        tasks.start_soon(keeper.run)

        await until(lambda: told.renewed)
        tasks.cancel_scope.cancel()

    assert told.lost == []
