"""What the settings of a server and its connections come to."""

from collections.abc import Iterator

import psycopg
import pytest

from aiserv.migrate import migrate
from tests.conftest import administrator, url_of
from tests.sql.calls import Connect, Db
from tests.sql.findings import finding


def test_fsync_must_be_on(db: Db) -> None:
    fsync = db.execute("show fsync").fetchone()
    assert fsync

    assert finding(db, "durability")[0] == ("ok" if fsync["fsync"] == "on" else "problem")


@pytest.fixture
def quiet_autovacuum(db: Db) -> Iterator[None]:
    db.execute("alter system set autovacuum = off")
    db.execute("select pg_reload_conf()")
    yield
    db.execute("alter system reset autovacuum")
    db.execute("select pg_reload_conf()")


def test_autovacuum_must_be_on(quiet_autovacuum: None, connect: Connect) -> None:
    # A setting is read between two statements.
    assert finding(connect(), "autovacuum")[0] == "problem"


def test_the_encoding_must_know_all_letters(postgres: str) -> None:
    with administrator(postgres) as admin:
        admin.execute(
            "create database aiserv_ascii template template0 encoding 'SQL_ASCII' locale 'C' locale_provider libc"
        )
        try:
            migrate(url_of(postgres, "aiserv_ascii"))
            with psycopg.connect(url_of(postgres, "aiserv_ascii")) as ascii_db:
                found = ascii_db.execute(
                    "select status from aiserv.check_installation() where topic = 'encoding'"
                ).fetchone()
            assert found == (b"problem",)
        finally:
            admin.execute("drop database aiserv_ascii with (force)")


def test_connections_must_not_run_out(db: Db, connect: Connect) -> None:
    limit = db.execute("show max_connections").fetchone()
    assert limit
    assert finding(db, "connections")[0] == "ok"

    for _ in range(int(0.7 * int(limit["max_connections"]))):
        connect()
    # No more than it takes: tests beside this one want some, too, and give some back at any moment.
    while (status := finding(db, "connections")[0]) == "ok":
        connect()
    assert status == "warning"

    # Who may not see the sessions of others counts them all the same.
    service = connect(options="-c role=aiserv_service")
    while (status := finding(service, "connections")[0]) == "ok":
        connect()
    assert status == "warning"
