"""Server-sent events while PostgreSQL fails."""

from contextlib import suppress
from uuid import UUID

import anyio
import psycopg
import pytest

from aiserv.api import event_log
from aiserv.api.event_log import Events, _Event
from aiserv.database import Database
from aiserv.queries.jobs import Summary
from tests.api.client import Api
from tests.api.streams import Subscribe, cancelled
from tests.waiting import SOON, until


async def test_a_stream_outlives_that_events_cannot_be_read(
    api: Api, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_all, read = Events._read, Database.summaries
    tries: list[float] = []

    async def another_finishes(events: Events, news: list[_Event]) -> bool:
        events.hear("")
        return await read_all(events, news)

    async def fail_once(database: Database, job_ids: list[UUID]) -> list[Summary]:
        tries.append(anyio.current_time())
        if len(tries) == 1:
            raise psycopg.OperationalError("gone")
        return await read(database, job_ids)

    monkeypatch.setattr(Events, "_read", another_finishes)
    monkeypatch.setattr(Database, "summaries", fail_once)

    async with subscribe() as stream:
        job_id = await cancelled(api)
        told = await stream.job()

    assert told["id"] == job_id
    # Nobody's notification makes it hammer at who does not answer.
    assert tries[1] - tries[0] > 0.9 * event_log.RETRY_SECONDS


async def test_streams_that_wait_for_a_read_that_fails_do_not_wait_for_another(
    api: Api, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read = Events._read
    wanted = tries = 0

    async def counted(events: Events, news: list[_Event]) -> bool:
        nonlocal wanted
        wanted += 1
        return await read(events, news)

    async def fail(_database: Database, _job_ids: list[UUID]) -> list[Summary]:
        nonlocal tries
        tries += 1
        await until(lambda: wanted == 2)
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(event_log, "RETRY_SECONDS", 3600.0)
    monkeypatch.setattr(Events, "_read", counted)
    monkeypatch.setattr(Database, "summaries", fail)

    async with subscribe() as one, subscribe() as another:
        await cancelled(api)
        told = [await one.block(), await another.block()]

    assert [list(comment) for comment in told] == [[""], [""]]
    assert (tries, caplog.text.count("events could not be read")) == (1, 1)


@pytest.mark.parametrize("error", [ZeroDivisionError, psycopg.errors.UndefinedFunction])
async def test_a_stream_that_breaks_is_cut_off_and_not_answered_a_second_time(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    async def breaks(_database: Database, _job_ids: list[UUID]) -> list[Summary]:
        raise error

    monkeypatch.setattr(Database, "summaries", breaks)
    await api.listening()
    received = b""

    async with await anyio.connect_tcp("127.0.0.1", api.port) as client:
        await client.send(b"GET /api/v1/events HTTP/1.1\r\nHost: aiserv\r\n\r\n")
        while b"still here" not in received:
            received += await client.receive()
        await cancelled(api)
        with anyio.fail_after(SOON), suppress(anyio.EndOfStream):
            while True:
                received += await client.receive()

    assert received.count(b"HTTP/1.1") == 1
    assert not received.endswith(b"0\r\n\r\n")
