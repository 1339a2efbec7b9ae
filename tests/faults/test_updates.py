"""The schema is updated while others are at work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv.migrate import migrate

Measured = Callable[[str], None]
Connect = Callable[..., psycopg.Connection[DictRow]]
FUNCTIONS = ("functions/claim_jobs.sql", "functions/_complete.sql", "functions/_create_all.sql")
WITH_KEY = '[{"owner_service": "me", "task_type": "load", "model_profile": "m", "idempotency_key": "key"}]'


@contextmanager
def four_at_work(connect: Connect) -> Iterator[tuple[list[str], list[psycopg.Error]]]:
    """The jobs done until the end of the block, and what the four met."""
    stop = threading.Event()
    done: list[str] = []
    errors: list[psycopg.Error] = []

    def work(connection: psycopg.Connection[DictRow]) -> None:
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


def update(conninfo: str, db: psycopg.Connection[DictRow], files: list[str]) -> list[str]:
    """The files that are run when those like these have changed."""
    db.execute("update aiserv.installed set checksum = 'of another text' where file like any(%s)", [files])
    return migrate(conninfo)


@pytest.mark.fault(
    "the schema is updated under load",
    "ten migrations that replace the functions that four workers call all the while, on connections that they keep",
    "no error on either side",
)
def test_changed_functions_are_replaced_under_load_without_an_error_on_either_side(
    conninfo: str, connect: Connect, db: psycopg.Connection[DictRow], measured: Measured
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
    conninfo: str, connect: Connect, db: psycopg.Connection[DictRow], measured: Measured
) -> None:
    with four_at_work(connect) as (done, errors):
        updates = [update(conninfo, db, ["views/%", "functions/%", "triggers/%"]) for _ in range(3)]

    measured(f"{len(updates)} updates while {len(done):,} jobs were done; {len(errors)} errors")
    assert errors == []
    assert all(len(files) > 100 for files in updates)
    assert done


def test_what_a_newer_version_installed_is_left_as_it_is(conninfo: str, db: psycopg.Connection[DictRow]) -> None:
    db.execute("update aiserv.installed set checksum = 'of a newer text', version = '99.0.0'")

    assert migrate(conninfo) == []
