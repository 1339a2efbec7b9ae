"""The listener: hears, comes back, and knows when it is deaf."""

import logging
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import anyio
import psycopg
import pytest

from aiserv import listener
from aiserv.listener import Listener, hang_up, notified_ids
from tests.tcp_proxy import tcp_proxy
from tests.waiting import SOON, until
from tests.workers.running import Db


@dataclass
class Ear:
    """A listener to the channel `news`, and what came of it."""

    conninfo: str
    heard: list[str] = field(default_factory=list)
    connects: int = 0
    disconnects: int = 0

    def __post_init__(self) -> None:
        self.listener = Listener(
            self.conninfo,
            {"news": self.heard.append},
            name="ear",
            on_connect=self._connected,
            on_disconnect=self._disconnected,
        )

    def has(self, **expected: object) -> bool:
        return all(getattr(self, name) == value for name, value in expected.items())

    def _connected(self) -> None:
        self.connects += 1

    async def _disconnected(self) -> None:
        self.disconnects += 1


@asynccontextmanager
async def ear(conninfo: str) -> AsyncIterator[Ear]:
    it = Ear(conninfo)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(it.listener.run)
        yield it
        tasks.cancel_scope.cancel()


async def test_a_notification_is_heard(conninfo: str, db: Db) -> None:
    async with ear(conninfo) as it:
        await until(lambda: it.listener.connected)

        db.execute("notify news, 'good'")

        await until(lambda: it.heard == ["good"])
        assert it.listener.last_notification_at is not None


async def test_what_is_said_once_everybody_was_told_to_look_is_heard(conninfo: str, db: Db) -> None:
    heard: list[str] = []

    def look() -> None:
        db.execute("notify news, 'just after the look'")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Listener(conninfo, {"news": heard.append}, on_connect=look).run)
        await until(lambda: heard == ["just after the look"])
        tasks.cancel_scope.cancel()


async def test_a_listener_that_is_killed_comes_back_and_says_so(conninfo: str, db: Db) -> None:
    async with ear(conninfo) as it:
        for times in range(1, 21):
            await until(partial(it.has, connects=times))
            assert it.listener.reconnects == times - 1
            db.execute("notify news, 'good'")
            await until(partial(it.has, heard=["good"] * times))

            db.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'ear' and datname = current_database()"
            )
            await until(partial(it.has, disconnects=times))


async def test_a_listener_waits_for_postgresql_to_come_up(conninfo: str, db: Db, unused_tcp_port: int) -> None:
    async with ear(f"{conninfo}&host=127.0.0.1&port={unused_tcp_port}") as it:
        await anyio.sleep(0.05)

        assert (it.connects, it.disconnects, it.listener.connected) == (0, 0, False)


async def test_a_connection_that_swallows_notifications_is_no_connection(
    conninfo: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aiserv.listener.PROBE_SECONDS", 0.2)

    async with tcp_proxy(conninfo) as proxy:
        proxy.swallow_notifications = True
        async with ear(proxy.conninfo) as it:
            await until(lambda: "DATABASE_LISTEN_URL" in caplog.text)

            assert not it.listener.connected
            assert it.connects == 0
    assert caplog.records[0].levelno == logging.WARNING


async def test_a_connection_that_breaks_on_the_way_is_made_anew(conninfo: str) -> None:
    async with tcp_proxy(conninfo) as proxy, ear(proxy.conninfo) as it:
        await until(lambda: it.listener.connected)

        proxy.cut()

        await until(lambda: it.disconnects == 1)
        await until(lambda: it.connects == 2)


async def test_a_connection_that_is_open_and_silent_is_made_anew(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aiserv.listener.QUIET_SECONDS", 0.2)
    monkeypatch.setattr("aiserv.listener.PROBE_SECONDS", 1)

    async with tcp_proxy(conninfo) as proxy, ear(proxy.conninfo) as it:
        await until(lambda: it.listener.connected)

        proxy.hang()

        def is_heard() -> bool:
            # Again and again: a PostgreSQL that stands still for longer than it may is left once more.
            db.execute("notify news, 'good'")
            return bool(it.disconnects and it.heard)

        await until(is_heard)
    assert "does not answer" in caplog.text


async def test_a_quiet_connection_stays_and_misses_nothing_while_it_is_looked_after(
    conninfo: str, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiserv.listener.QUIET_SECONDS", 0.001)
    monkeypatch.setattr("aiserv.listener.PROBE_SECONDS", SOON)

    async with ear(conninfo) as it:
        await until(lambda: it.listener.connected)
        for number in range(500):
            db.execute(f"notify news, '{number}'".encode())

        await until(lambda: len(it.heard) == 500)
        assert it.heard == [str(number) for number in range(500)]
        assert (it.connects, it.disconnects) == (1, 0)


async def test_a_listener_that_ends_while_postgresql_owes_it_an_answer_says_nothing(
    conninfo: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aiserv.listener.QUIET_SECONDS", 0.001)
    monkeypatch.setattr("aiserv.listener.PROBE_SECONDS", SOON)
    asked = anyio.Event()

    async def ask(connection: psycopg.AsyncConnection) -> None:
        proxy.freeze()
        asked.set()
        await ping(connection)

    ping = listener._ping
    monkeypatch.setattr(listener, "_ping", ask)
    async with tcp_proxy(conninfo) as proxy:
        async with ear(proxy.conninfo) as it:
            with anyio.fail_after(SOON):
                await asked.wait()
            await anyio.wait_all_tasks_blocked()
        proxy.thaw()
        await until(lambda: not proxy.streams)

    # Not asyncio, to which streams of the proxy that end at this moment may be news.
    assert [record.message for record in caplog.records if record.name != "asyncio"] == []
    assert it.disconnects == 0


async def test_who_has_no_descriptor_left_can_hang_up(conninfo: str) -> None:
    connection = await psycopg.AsyncConnection.connect(conninfo)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        hang_up(connection)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    with pytest.raises(psycopg.OperationalError):
        await connection.execute("select")
    await connection.close()


def test_anything_may_stand_in_a_payload() -> None:
    known = UUID("0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10")

    assert notified_ids(f"{known},,x,'; drop table,{known}x,x{known},{known}{known}") == [str(known)]
    assert notified_ids("") == []
