"""Many install the schema at once, and one dies half-way."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg.rows import dict_row

from aiserv.migrate import sql_files
from tests.conftest import database, url_of
from tests.faults.postgres import Db
from tests.processes import START_SECONDS, aiserv
from tests.waiting import until

Measured = Callable[[str], None]
SERVERS = 8
HALF_WAY = """
    create function public.dawdle() returns event_trigger language plpgsql as $$
    begin
        if tg_tag = 'CREATE VIEW' then
            perform pg_sleep(3600);
        end if;
    end;
    $$;
    create event trigger dawdle on ddl_command_end execute function public.dawdle();
"""


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """The URL of a database without a schema of ours."""
    with database(postgres, template="template1") as name:
        yield url_of(postgres, name)


def connected(url: str) -> Db:
    return psycopg.connect(url, autocommit=True, row_factory=dict_row)


def installed(db: Db) -> bool:
    row = db.execute("select to_regclass('aiserv.installed') is not null as found").fetchone()
    assert row
    return bool(row["found"])


@pytest.mark.fault(
    "eight processes migrate an empty database at once",
    "eight times `aiserv migrate`",
    "8 of 8 end well, and one of them has run the files",
)
async def test_of_eight_that_migrate_at_once_one_does_and_all_succeed(empty: str, measured: Measured) -> None:
    started = time.monotonic()
    with ExitStack() as stack:
        processes = [stack.enter_context(aiserv("migrate", DATABASE_URL=empty)) for _ in range(SERVERS)]
        ended = [await process.ended() for process in processes]
    measured(f"{ended.count(0)} of {SERVERS} in {time.monotonic() - started:.1f} s")
    with connected(empty) as db:
        row = db.execute("select count(*) as files from aiserv.installed").fetchone()

    assert ended == [0] * SERVERS
    assert sum("files run" in process.text for process in processes) == 1
    assert row == {"files": len(sql_files())}


@pytest.mark.fault(
    "a process is killed half-way through a migration",
    "`SIGKILL` while it creates a view",
    "nothing of it is left, and the next one does it all",
)
async def test_half_a_migration_is_none(empty: str, measured: Measured) -> None:
    with connected(empty) as db:
        db.execute(HALF_WAY)
        with aiserv("migrate", DATABASE_URL=empty) as killed:
            asleep = "select pid from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
            await until(lambda: db.execute(asleep).rowcount == 1, START_SECONDS)
            killed.send(signal.SIGKILL)
            await killed.ended()
        # What PostgreSQL finds out when it is done with the statement, at the latest.
        db.execute(f"select pg_terminate_backend(pid) from ({asleep}) as half_way")
        db.execute("drop event trigger dawdle")
        assert not installed(db)

        started = time.monotonic()
        with aiserv("migrate", DATABASE_URL=empty) as second:
            assert await second.ended() == 0
        row = db.execute("select count(*) as files from aiserv.installed").fetchone()
    assert row == {"files": len(sql_files())}
    measured(f"nothing left; the next one took {time.monotonic() - started:.1f} s")
