"""Settlements in groups, and what becomes of them while PostgreSQL is away or refuses."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import anyio
import psycopg
import pytest
from psycopg import sql

from aiserv.database import Database
from aiserv.models import Job, Settlement
from tests.waiting import SOON, until
from tests.workers.chats import chat_job
from tests.workers.running import Db, create, job
from workers.executors import Outcome
from workers.failures import Failure
from workers.record import Record
from workers.settle import Settler, completion, failure


class Unreliable(Database):
    """A database that first raises `errors`, after PostgreSQL has answered, and remembers the sizes of groups."""

    errors: list[Exception]
    groups: list[int]

    async def settle_jobs(self, settlements: Sequence[str]) -> dict[int, Settlement]:
        self.groups.append(len(settlements))
        refused = await super().settle_jobs(settlements)
        if self.errors:
            raise self.errors.pop(0)
        return refused


@asynccontextmanager
async def settling(conninfo: str, *errors: Exception) -> AsyncIterator[tuple[Settler, Unreliable, Record]]:
    async with (
        Unreliable.open(conninfo, size=1, name="settler", lock_timeout=timedelta(milliseconds=50)) as database,
        anyio.create_task_group() as tasks,
    ):
        database.errors, database.groups = list(errors), []
        record = Record()
        settler = Settler(database, record)
        tasks.start_soon(settler.run)
        with anyio.fail_after(SOON):
            yield settler, database, record
        tasks.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.settle.RETRY_SECONDS", 0.01)


async def settle_with(settler: Settler, settlement: str) -> str | None:
    """Why the settlement was refused, waited for, or None: it is stored."""
    answers: list[Settlement | None] = []
    settled = anyio.Event()

    def answered(refused: Settlement | None) -> None:
        answers.append(refused)
        settled.set()

    settler.add(settlement, answered)
    await settled.wait()
    (refused,) = answers
    return refused and refused.code


def claimed(db: Db, count: int = 1) -> list[Job]:
    for _ in range(count):
        create(db)
    rows = db.execute("select id, attempt from aiserv.claim_jobs('worker-1', max_jobs => %s)", [count])
    return [chat_job({}, job_id=row["id"], attempt=row["attempt"]) for row in rows]


def status(db: Db, job_id: UUID) -> str:
    found: str = job(db, job_id)["status"]
    return found


async def test_what_ends_while_a_statement_is_in_flight_travels_together(conninfo: str, db: Db) -> None:
    jobs = claimed(db, 20)

    async with settling(conninfo) as (settler, database, _), anyio.create_task_group() as tasks:
        for each in jobs:
            tasks.start_soon(settle_with, settler, completion(each, Outcome("done", None)))

    assert sum(database.groups) == 20
    assert len(database.groups) <= 2
    assert {status(db, each.id) for each in jobs} == {"completed"}


async def test_one_that_postgresql_refuses_fails_alone(conninfo: str, db: Db) -> None:
    good, bad, other = claimed(db, 3)
    refusals: dict[UUID, str | None] = {}

    async def settle(each: Job, settlement: str) -> None:
        refusals[each.id] = await settle_with(settler, settlement)

    async with settling(conninfo) as (settler, _, _), anyio.create_task_group() as tasks:
        tasks.start_soon(settle, good, completion(good, Outcome(1, None)))
        tasks.start_soon(settle, bad, completion(bad, Outcome(2, None)).replace('"usage":null', '"usage":[]'))
        tasks.start_soon(settle, other, failure(other, Failure("content_filter", "no")))

    assert [refusals[each.id] for each in (good, bad, other)] == [None, "JV400", None]
    assert [status(db, each.id) for each in (good, bad, other)] == ["completed", "running", "failed"]


async def test_one_that_a_trigger_of_somebody_refuses_fails_alone(conninfo: str, db: Db) -> None:
    good, bad, other = jobs = claimed(db, 3)
    db.execute("create function refuse() returns trigger language plpgsql as 'begin raise ''no''; end'")
    db.execute(
        sql.SQL("create trigger refuse before update on aiserv.job for each row when (new.id = {}) {}").format(
            bad.id, sql.SQL("execute function refuse()")
        )
    )
    refusals: dict[UUID, str | None] = {}

    async def settle(each: Job) -> None:
        refusals[each.id] = await settle_with(settler, completion(each, Outcome("done", None)))

    async with settling(conninfo) as (settler, database, _), anyio.create_task_group() as tasks:
        for each in jobs:
            tasks.start_soon(settle, each)

    assert database.groups[0] == 3
    assert refusals == {good.id: None, bad.id: "P0001", other.id: None}
    assert [status(db, each.id) for each in jobs] == ["completed", "running", "completed"]


async def test_one_that_came_too_late_fails_alone(conninfo: str, db: Db) -> None:
    good, late = claimed(db, 2)
    db.execute("select aiserv.retry_job(%s)", [late.id])

    async with settling(conninfo) as (settler, _, _):
        refused = await settle_with(settler, completion(late, Outcome(1, None)))
        taken = await settle_with(settler, completion(good, Outcome(1, None)))

    assert (refused, taken) == ("JL409", None)


@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("the connection is lost"),
        psycopg.InterfaceError("the connection is closed"),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.ReadOnlySqlTransaction(),
        psycopg.errors.QueryCanceled(),
        psycopg.errors.DeadlockDetected(),
        psycopg.errors.DiskFull(),
        psycopg.errors.InternalError_("XX000"),
        psycopg.errors.InsufficientPrivilege(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_result_outlives_the_bad_days_of_postgresql(error: Exception, conninfo: str, db: Db) -> None:
    (done,) = claimed(db)

    async with settling(conninfo, error, error) as (settler, _, record):
        refused = await settle_with(settler, completion(done, Outcome("kept", None)))

    # It had arrived, and its answer was lost: a repeat is answered like the first time.
    assert (refused, status(db, done.id)) == (None, "completed")
    assert record.last_error in {getattr(error, "sqlstate", None), "08006"}


async def test_a_failure_whose_answer_was_lost_counts_once(conninfo: str, db: Db) -> None:
    (failed,) = claimed(db)

    async with settling(conninfo, psycopg.OperationalError("lost")) as (settler, _, _):
        refused = await settle_with(settler, failure(failed, Failure("timeout", "too slow")))

    assert (refused, job(db, failed.id)["failures"]) == (None, 1)


async def test_a_settlement_whose_job_somebody_holds_holds_up_no_other(conninfo: str, db: Db) -> None:
    held, *others = claimed(db, 5)
    refusals: list[str | None] = []

    async def settle(each: Job) -> None:
        refusals.append(await settle_with(settler, completion(each, Outcome("done", None))))

    async with settling(conninfo) as (settler, _, record), anyio.create_task_group() as tasks:
        with db.transaction():
            db.execute("select aiserv.heartbeat_job(%s)", [held.id])
            for each in (held, *others):
                tasks.start_soon(settle, each)
            await until(lambda: len(refusals) == len(others))

    assert record.last_error == "55P03"
    assert refusals == [None] * 5
    assert {status(db, each.id) for each in (held, *others)} == {"completed"}


async def test_a_group_is_bounded_in_size(conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.settle.MAX_GROUP_CHARACTERS", 2_500)
    jobs = claimed(db, 4)

    async with settling(conninfo) as (settler, database, _), anyio.create_task_group() as tasks:
        for each in jobs:
            tasks.start_soon(settle_with, settler, completion(each, Outcome("x" * 1_000, None)))

    assert max(database.groups) == 2


async def test_one_larger_than_a_group_goes_alone(conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.settle.MAX_GROUP_CHARACTERS", 10)
    (done,) = claimed(db)

    async with settling(conninfo) as (settler, _, _):
        assert await settle_with(settler, completion(done, Outcome("x" * 1_000, None))) is None
        await until(lambda: status(db, done.id) == "completed")
