"""Connections that hang: nobody waits for what never answers."""

from datetime import timedelta

import anyio
import pytest

from aiserv.database import HANGING_SECONDS, Database, DatabaseError, is_unavailable
from tests.tcp_proxy import tcp_proxy
from tests.waiting import SOON


async def test_connections_that_hang_are_replaced_without_being_asked(conninfo: str) -> None:
    async with tcp_proxy(conninfo) as proxy, Database.open(proxy.conninfo, size=1, name="hanging") as database:
        await database.clock()
        proxy.hang()

        with anyio.fail_after(SOON):
            await database.reconnect()
            await database.clock()


async def test_a_statement_that_is_never_answered_is_given_up_and_the_next_one_goes_through(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = timedelta(seconds=SOON)
    async with (
        tcp_proxy(conninfo) as proxy,
        Database.open(proxy.conninfo, size=1, name="hanging", statement_timeout=limit) as database,
    ):
        await database.clock()
        proxy.hang()

        assert database._patience == SOON + HANGING_SECONDS
        with anyio.fail_after(SOON):
            with monkeypatch.context() as hurried:
                hurried.setattr(database, "_patience", 0.2)
                with pytest.raises(DatabaseError) as given_up:
                    await database.clock()
            proxy.hung.clear()
            await database.clock()

    assert is_unavailable(given_up.value)


@pytest.mark.parametrize(("is_pooler", "are_prepared"), [(False, True), (True, False)])
async def test_statements_are_prepared_but_for_a_pooler(conninfo: str, is_pooler: bool, are_prepared: bool) -> None:  # noqa: FBT001 - two cases
    async with tcp_proxy(conninfo) as proxy:
        proxy.make_up_process_ids = is_pooler
        async with Database.open(proxy.conninfo, size=1, name="pooled") as database:
            for _ in range(10):
                await database.clock()
            prepared = await database._rows("select from pg_prepared_statements")

    assert bool(prepared) == are_prepared
