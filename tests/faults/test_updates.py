"""The schema is updated while others are at work."""

import threading
from collections.abc import Callable

import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv.migrate import migrate

Measured = Callable[[str], None]
Connect = Callable[..., psycopg.Connection[DictRow]]
FUNCTIONS = ("functions/claim_jobs.sql", "functions/_complete.sql", "functions/_create_all.sql")


@pytest.mark.fault(
    "the schema is updated under load",
    "ten migrations that replace the functions that four workers call all the while, on connections that they keep",
    "no error on either side",
)
def test_changed_functions_are_replaced_under_load_without_an_error_on_either_side(
    conninfo: str, connect: Connect, db: psycopg.Connection[DictRow], measured: Measured
) -> None:
    stop, errors, done = threading.Event(), [], []

    def work(connection: psycopg.Connection[DictRow]) -> None:
        try:
            while not stop.is_set():
                connection.execute("select aiserv.create_job('me', 'load', 'm')")
                for job in connection.execute("select id, attempt from aiserv.claim_jobs('w', '{load}', '{m}')"):
                    connection.execute("select aiserv.complete_job(%s, '1', %s)", [job["id"], job["attempt"]])
                    done.append(job["id"])
        except psycopg.Error as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=[connect()]) for _ in range(4)]
    for worker in workers:
        worker.start()
    updates = []
    try:
        for _ in range(10):
            db.execute("update aiserv.installed set checksum = 'of another text' where file = any(%s)", [[*FUNCTIONS]])
            updates.append(migrate(conninfo))
    finally:
        stop.set()
        for worker in workers:
            worker.join()

    measured(f"{len(updates)} updates while {len(done):,} jobs were done; {len(errors)} errors")
    assert errors == []
    assert all(set(FUNCTIONS) < set(update) and len(update) == len(FUNCTIONS) + 2 for update in updates)
    assert done


def test_what_a_newer_version_installed_is_left_as_it_is(conninfo: str, db: psycopg.Connection[DictRow]) -> None:
    db.execute("update aiserv.installed set checksum = 'of a newer text', version = '99.0.0'")

    assert migrate(conninfo) == []
