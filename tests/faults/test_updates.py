"""The schema is updated while others are at work."""

import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import psycopg
import pytest

import aiserv.migrate
from aiserv.migrate import migrate
from tests.faults.postgres import Db, own_postgres
from tests.waiting import until, until_found

Measured = Callable[[str], None]
Connect = Callable[..., Db]
FUNCTIONS = ("functions/claim_jobs.sql", "functions/_complete.sql", "functions/_store_jobs.sql")
WITH_KEY = '[{"owner_service": "me", "task_type": "load", "model_profile": "m", "idempotency_key": "key"}]'
# Pages enough for minutes at ten pages a second, and an autovacuum that starts at once.
DEAD_ROWS = """
insert into aiserv.delta (minute, owner_service, task_type, model_profile)
select now(), 'a', 'b', 'c' from generate_series(1, 100000)
"""
SLOW_VACUUM = """
alter table aiserv.delta set (
    autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1
)
"""
VACUUMED = """
select pid from pg_stat_progress_vacuum where relid = 'aiserv.delta'::regclass
"""


@contextmanager
def four_at_work(connect: Connect) -> Iterator[tuple[list[str], list[psycopg.Error]]]:
    """The jobs done until the end of the block, and what the four met."""
    stop = threading.Event()
    done: list[str] = []
    errors: list[psycopg.Error] = []

    def work(connection: Db) -> None:
        try:
            while not stop.is_set():
                connection.execute("select aiserv.create_job('me', 'load', 'm')")
                connection.execute("select aiserv.create_jobs(%s)", [WITH_KEY])
                for job in connection.execute(
                    "select id, attempt from aiserv.claim_jobs('w', '{load}', '{m}', max_jobs => 2)"
                ):
                    connection.execute("select aiserv.complete_job(%s, '1', %s)", [job["id"], job["attempt"]])
                    done.append(job["id"])
        except psycopg.Error as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=[connect()]) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        yield done, errors
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def update(conninfo: str, db: Db, files: list[str]) -> list[str]:
    """The files that are run when those like these have changed."""
    db.execute("update aiserv.installed set checksum = 'of another text' where file like any(%s)", [files])
    return migrate(conninfo)


@pytest.mark.fault(
    "the schema is updated under load",
    "ten migrations that replace the functions that four workers call all the while, on connections that they keep",
    "no error on either side",
)
def test_changed_functions_are_replaced_under_load_without_an_error_on_either_side(
    conninfo: str, connect: Connect, db: Db, measured: Measured
) -> None:
    with four_at_work(connect) as (done, errors):
        updates = [update(conninfo, db, [*FUNCTIONS]) for _ in range(10)]

    measured(f"{len(updates)} updates while {len(done):,} jobs were done; {len(errors)} errors")
    assert errors == []
    assert all(set(FUNCTIONS) < set(files) and len(files) == len(FUNCTIONS) + 2 for files in updates)
    assert done


@pytest.mark.fault(
    "all of the schema is updated under load",
    "as a migration does: three times all views, functions and triggers are replaced under four workers",
    "no error on either side: who writes waits for the update, and nobody is caught in a deadlock with it",
)
def test_all_that_a_migration_brings_is_replaced_under_load_without_an_error_on_either_side(
    conninfo: str, connect: Connect, db: Db, measured: Measured
) -> None:
    with four_at_work(connect) as (done, errors):
        updates = [update(conninfo, db, ["views/%", "functions/%", "triggers/%"]) for _ in range(3)]

    measured(f"{len(updates)} updates while {len(done):,} jobs were done; {len(errors)} errors")
    assert errors == []
    assert all(len(files) > 100 for files in updates)
    assert done


def test_what_a_newer_version_installed_is_left_as_it_is(conninfo: str, db: Db) -> None:
    db.execute("update aiserv.installed set checksum = 'of a newer text', version = '99.0.0'")

    assert migrate(conninfo) == []


@pytest.mark.fault(
    "the schema is updated while a large table is vacuumed",
    "an autovacuum that would take minutes, on a PostgreSQL of its own; then all views and triggers are replaced",
    "the autovacuum gives way, and the update is done within 10 s",
)
async def test_an_autovacuum_gives_way_to_an_update(data: Path, measured: Measured) -> None:
    with own_postgres(data) as postgres, postgres.connect() as db:
        db.execute(SLOW_VACUUM)
        with db.transaction(force_rollback=True):
            db.execute(DEAD_ROWS)
        db.execute("alter system set autovacuum_naptime = '1s'")
        db.execute("select pg_reload_conf(), pg_stat_force_next_flush()")
        await until_found(db, VACUUMED)
        vacuum = db.execute(VACUUMED).fetchone()
        assert vacuum

        started = time.monotonic()
        files = await anyio.to_thread.run_sync(update, postgres.url, db, ["views/%", "triggers/%"])

        measured(f"updated after {time.monotonic() - started:.1f} s")
        assert len(files) > 20
        assert vacuum not in db.execute(VACUUMED).fetchall()


@asynccontextmanager
async def updated_beside(other: Db, conninfo: str, db: Db) -> AsyncIterator[list[str]]:
    """The files that an update has run, which begins with the block and ends after the transaction of the other."""
    ran: list[str] = []

    async def run() -> None:
        ran.extend(await anyio.to_thread.run_sync(update, conninfo, db, ["views/%", "triggers/%"]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        try:
            yield ran
        finally:
            other.execute("commit")


async def test_who_writes_goes_on_while_an_update_waits_for_a_vacuum(conninfo: str, connect: Connect) -> None:
    vacuum, writer = connect(), connect()
    vacuum.execute("begin")
    vacuum.execute("lock table aiserv.job in share update exclusive mode")
    waiting = "select from pg_locks where relation = 'aiserv.job'::regclass and mode ~ '^ShareUpdate' and not granted"

    async with updated_beside(vacuum, conninfo, connect()) as ran:
        for _ in range(3):
            await until_found(writer, waiting)
            writer.execute("select aiserv.create_job('me', 'load', 'm')")
        assert ran == []

    assert len(ran) > 20


async def test_an_update_takes_its_locks_at_once_or_begins_anew(
    conninfo: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # For each lock it would wait for an hour, for all together it does not.
    monkeypatch.setattr(aiserv.migrate, "LOCK_TIMEOUT", "1h")
    caplog.set_level(logging.INFO, "aiserv.migrate")
    writer = connect()
    writer.execute("begin")
    writer.execute("select aiserv.create_job('me', 'load', 'm')")

    async with updated_beside(writer, conninfo, connect()) as ran:
        await until(lambda: "the schema is in use" in caplog.text)

    assert len(ran) > 20
