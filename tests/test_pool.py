"""Connections that are all in use: who waits for one, and how long."""

from collections.abc import AsyncIterator

import anyio
import pytest

from aiserv import pool
from aiserv.database import is_unavailable
from aiserv.pool import Pool, PoolExhausted
from tests.tcp_proxy import tcp_proxy
from tests.waiting import SOON, until


@pytest.fixture
async def connections(conninfo: str) -> AsyncIterator[Pool]:
    async with Pool(conninfo, min_size=1, max_size=2, timeout=SOON, open=False) as connections:
        yield connections


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.02)


@pytest.mark.usefixtures("hurried")
async def test_who_finds_all_connections_held_is_turned_away_soon(connections: Pool) -> None:
    async with connections.connection(), connections.connection():
        with anyio.fail_after(SOON), pytest.raises(PoolExhausted) as refused:
            await connections.getconn()

    assert is_unavailable(refused.value)
    async with connections.connection() as connection:
        await connection.execute("select")


@pytest.mark.usefixtures("hurried")
async def test_a_line_that_moves_is_waited_in_for_longer(connections: Pool) -> None:
    served = []

    async def hold(number: int) -> None:
        async with connections.connection():
            served.append(number)
            # Half of what would be a standstill: the last ones wait for several of them.
            await anyio.sleep(pool.LOOKS * pool.LOOK_SECONDS / 2)

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(hold, number)

    assert served == list(range(30))


@pytest.mark.usefixtures("hurried")
async def test_while_connections_are_made_nobody_is_turned_away(conninfo: str) -> None:
    async with (
        tcp_proxy(conninfo) as proxy,
        Pool(proxy.conninfo, min_size=1, max_size=2, timeout=SOON, open=False) as connections,
        anyio.create_task_group() as tasks,
    ):
        served = []

        async def ask() -> None:
            async with connections.connection():
                served.append(True)

        # One is made, and taken; the next ones cannot be made.
        await connections.wait(SOON)
        async with connections.connection():
            proxy.freeze()
            for _ in range(3):
                tasks.start_soon(ask)
            await until(lambda: connections.get_stats().get("requests_waiting") == 3)
            await anyio.sleep(3 * pool.LOOKS * pool.LOOK_SECONDS)
            assert connections.get_stats().get("requests_waiting") == 3
            proxy.thaw()
        await until(lambda: len(served) == 3)


@pytest.mark.usefixtures("hurried")
async def test_who_stops_waiting_leaves_a_place(connections: Pool) -> None:
    async with connections.connection(), connections.connection():
        for _ in range(5):
            with anyio.move_on_after(0):
                await connections.getconn()

    # Were those who left still counted, all the others would have to wait for each other.
    assert (connections._callers, connections._held) == (0, 0)


def test_two_seconds_are_what_clients_are_promised() -> None:
    assert pool.LOOKS * pool.LOOK_SECONDS == 2
