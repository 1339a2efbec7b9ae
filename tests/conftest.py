"""A database of its own for every test, cloned from one that was migrated once."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row

import aiserv.database
from aiserv import infra, listener, pool, probes, providers_status
from aiserv.api import app
from aiserv.embedded import embedded_postgres
from aiserv.migrate import migrate
from aiserv.sidecar import containers, sampler, servers
from tests.invariants import broken
from tests.scratch import scratch_directory
from tests.waiting import SOON

settings.register_profile(
    "thorough",
    max_examples=3000,
    stateful_step_count=80,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def pytest_configure() -> None:
    """End a run on SIGTERM (from `timeout` or a CI) as on Ctrl-C: with its fixtures torn down."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A shell starts what runs in the background deaf to Ctrl-C, and so would be all processes of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> None:
    """Refuse a name made of packed bytes: they may hold the time, and each process collects at a time of its own."""
    if isinstance(val, bytes) and sum(byte > 127 for byte in val) > 9:
        raise pytest.UsageError(f"{argname}: name what is {val[:20]!r}, with pytest.param(..., id=...)")


@pytest.hookimpl(trylast=True)  # when all that are slow are marked so
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, to leave no process with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def scratch() -> Iterator[Path]:
    """A directory for the data of PostgreSQL."""
    with scratch_directory("aiserv-tests-") as directory:
        yield directory


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[str]:
    """The URL of a server for an administrator: `AISERV_TEST_DATABASE_URL`, or one of our own."""
    if url := os.environ.get("AISERV_TEST_DATABASE_URL"):
        yield url
        return
    with embedded_postgres(scratch / "postgres", durable=False) as url:
        yield url


@pytest.fixture(scope="session")
def template(postgres: str) -> Iterator[str]:
    """The name of a database with our schema in it and nothing else."""
    with database(postgres, template="template1") as name:
        with administrator(postgres) as connection:
            # Roles belong to the server: two runs at once must not both find them missing.
            connection.execute("select pg_advisory_lock(hashtext('aiserv tests'))")
            migrate(url_of(postgres, name))
        yield name


@pytest.fixture(scope="session")
def cloning(postgres: str) -> Iterator[psycopg.Connection]:
    """An administrator who stays: connecting costs as much as a third of a clone, and there are thousands."""
    with administrator(postgres) as connection:
        yield connection


@pytest.fixture
def conninfo(postgres: str, template: str, cloning: psycopg.Connection) -> Iterator[str]:
    """The URL of a database that belongs to this test; whatever the test did, its counters are exact afterwards."""
    with cloned(cloning, template) as name:
        yield url_of(postgres, name)
        with psycopg.connect(url_of(postgres, name), autocommit=True) as connection:
            assert broken(connection) == []


@pytest.fixture
def connect(conninfo: str) -> Iterator[Callable[..., psycopg.Connection[DictRow]]]:
    """Opens connections to the test's database, with `options=...` or what else libpq knows."""
    with ExitStack() as connections:

        def connect(**parameters: str) -> psycopg.Connection[DictRow]:
            connection = psycopg.connect(make_conninfo(conninfo, **parameters), autocommit=True, row_factory=dict_row)
            connections.callback(connection.close)
            return connection

        yield connect


@pytest.fixture
def db(connect: Callable[..., psycopg.Connection[DictRow]]) -> psycopg.Connection[DictRow]:
    """A connection to the test's database."""
    return connect()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let PostgreSQL, model servers and the sidecar take their time: who is late in a test is the machine.

    And let nobody look by the clock: half a minute is as long as tests wait for what was to come by itself.
    """
    be_patient(monkeypatch)


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `patient`, for as long as the patches last."""
    for limited, limit in (
        (aiserv.database, "CONNECTING_SECONDS"),
        (listener, "PROBE_SECONDS"),
        (pool, "LOOK_SECONDS"),
        (app, "STATS_PATIENCE_SECONDS"),
        (probes, "READINESS_SECONDS"),
        (providers_status, "PROBE_SECONDS"),
        (infra, "TIMEOUT_SECONDS"),
        (sampler, "SOURCE_SECONDS"),
        (containers, "SOURCE_SECONDS"),
        (servers, "SERVER_SECONDS"),
    ):
        monkeypatch.setattr(limited, limit, 3600.0)
    monkeypatch.setattr(aiserv.database, "LOCK_PATIENCE", timedelta(hours=1))
    for module in ("aiserv.wake", "aiserv.api.finished", "workers.worker"):
        monkeypatch.setattr(f"{module}.LOOK_SECONDS", 3600.0)


@pytest.fixture(scope="session")
def unused_tcp_port_factory() -> Callable[[], int]:
    """Ports that stay unused until the test uses them.

    They lie below those that the kernel gives to whoever connects or listens meanwhile, and each process has others.
    """
    ports = count(20_000 + os.getpid() % 100 * 100)

    def unused_port() -> int:
        for port in ports:
            with socket.socket() as probe, suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
        raise AssertionError

    return unused_port


@pytest.fixture
def unused_tcp_port(unused_tcp_port_factory: Callable[[], int]) -> int:
    return unused_tcp_port_factory()


@contextmanager
def database(postgres: str, *, template: str) -> Iterator[str]:
    """The name of a new database, dropped afterwards whoever is still connected."""
    with administrator(postgres) as connection, cloned(connection, template) as name:
        yield name


@contextmanager
def cloned(administrator: psycopg.Connection, template: str) -> Iterator[str]:
    """As `database`, by somebody who is connected already."""
    name = f"aiserv_test_{uuid4().hex}"
    # Copying files waits for two checkpoints, which are cheap only where nothing is synced.
    (fsync,) = administrator.execute("show fsync").fetchone() or ("on",)
    when_left(
        administrator,
        sql.SQL("create database {} template {} strategy {}").format(
            sql.Identifier(name),
            sql.Identifier(template),
            sql.Identifier("file_copy" if fsync == "off" else "wal_log"),
        ),
    )
    try:
        yield name
    finally:
        when_left(administrator, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def when_left(administrator: psycopg.Connection, statement: sql.Composed) -> None:
    """Run it when all others have left the database: PostgreSQL gives whom it has told to go no more than 5 seconds."""
    deadline = monotonic() + SOON
    while True:
        try:
            administrator.execute(statement)
        except psycopg.errors.ObjectInUse:
            if monotonic() > deadline:
                raise
        else:
            return


def administrator(postgres: str) -> psycopg.Connection:
    return psycopg.connect(postgres, autocommit=True)


def url_of(postgres: str, name: str) -> str:
    parts = urlsplit(postgres)
    return f"{parts.scheme}://{parts.netloc}/{name}?{parts.query}"
