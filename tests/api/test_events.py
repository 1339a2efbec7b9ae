"""Server-sent events."""

from pathlib import Path

import anyio
import psycopg
import pytest
from aiohttp import ClientSession
from psycopg.rows import DictRow

from aiserv import tokens
from aiserv.api import event_log
from tests.api.client import CHAT, Api
from tests.api.conftest import Start
from tests.api.streams import Stream, Subscribe, cancelled
from tests.waiting import SOON


async def test_a_subscriber_hears_of_every_job_that_finishes(api: Api, subscribe: Subscribe) -> None:
    async with subscribe() as stream:
        first = await cancelled(api, input={"secret": 1})
        await api.create()
        job = await api.claim()
        await api.post(f"jobs/{job['id']}/complete", {"result": 1})

        told = [await stream.job(), await stream.job()]

    assert [(job["id"], job["status"]) for job in told] == [(first, "cancelled"), (job["id"], "completed")]
    assert not {"input", "result", "progress"} & told[0].keys()


async def test_each_event_has_the_id_of_its_server_and_a_number(api: Api, subscribe: Subscribe) -> None:
    async with subscribe() as stream:
        await cancelled(api)
        await cancelled(api)
        first, second = [(await stream.event())["id"].rpartition("-") for _ in range(2)]

    assert (first[0], int(first[2]) + 1) == (second[0], int(second[2]))


async def test_the_silent_hear_a_comment_now_and_then(
    api: Api, subscribe: Subscribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert event_log.COMMENT_SECONDS == 15
    monkeypatch.setattr(event_log, "COMMENT_SECONDS", 0.1)

    async with subscribe() as stream:
        comments = [await stream.block(), await stream.block()]

    assert [list(comment) for comment in comments] == [[""], [""]]


async def test_a_stream_ends_when_its_token_is_taken_away(
    start: Start, session: ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(event_log, "COMMENT_SECONDS", 0.1)
    file = tmp_path / "tokens.toml"
    token, entry = tokens.new_token("watcher", "read", "*")
    file.write_text(entry)
    url = f"http://127.0.0.1:{start(AI_SERVICE_TOKENS_FILE=str(file)).port}/api/v1/events"

    async with session.get(url, headers={"Authorization": f"Bearer {token}"}) as response:
        stream = Stream(response)
        for _ in range(4):
            await stream.block()
        file.write_text(tokens.new_token("another", "read", "*")[1])
        with anyio.fail_after(SOON):
            await response.content.read()

        assert response.content.at_eof()


@pytest.mark.parametrize(
    "query",
    ["owner_service=crm", "task_type=x/y", "model_profile=m&model_profile=n", "status=cancelled&owner_service=crm"],
)
async def test_a_filter_leaves_out_the_others(api: Api, subscribe: Subscribe, query: str) -> None:
    async with subscribe(query) as stream:
        await cancelled(api)
        wanted = await cancelled(api, owner_service="crm", task_type="x/y", model_profile="m")

        assert (await stream.job())["id"] == wanted


async def test_a_filter_may_name_jobs_batches_and_states(api: Api, subscribe: Subscribe) -> None:
    first, second = await api.create(), await api.create()
    async with subscribe(f"id={second['id']},{first['id']}&status=completed,cancelled") as stream:
        await cancelled(api)
        await api.post(f"jobs/{first['id']}/cancel")

        assert (await stream.job())["id"] == first["id"]


async def test_a_filter_may_name_a_batch(api: Api, subscribe: Subscribe) -> None:
    await api.create()
    batch = (await api.post("jobs/batch", {**CHAT, "jobs": [{}]})).json
    async with subscribe(f"batch_id={batch['batch_id']}") as stream:
        await api.post("jobs/cancel", {"all": True})

        assert (await stream.job())["id"] == batch["ids"][0]


async def test_the_last_10000_events_are_kept_for_those_who_come_back(
    api: Api, subscribe: Subscribe, db: psycopg.Connection[DictRow]
) -> None:
    async with subscribe() as stream:
        await cancelled(api)
        last = (await stream.event())["id"]
        second = await cancelled(api)
        db.execute(
            "select pg_notify('aiserv_finished', string_agg(gen_random_uuid()::text, ','))"
            " from generate_series(1, 9998) as n group by n % 100"
        )
        await cancelled(api)
        await stream.event()
        await stream.event()

        async with subscribe(Last_Event_ID=last) as resumed:
            assert (await resumed.job())["id"] == second
        await cancelled(api)
        # Only now the server has heard of it.
        await stream.event()
        async with subscribe(Last_Event_ID=last) as resumed:
            assert (await resumed.event())["event"] == "resync"


async def test_a_stream_resumes_behind_the_last_event(api: Api, subscribe: Subscribe) -> None:
    async with subscribe() as stream:
        await cancelled(api)
        last = (await stream.event())["id"]
    missed = [await cancelled(api), await cancelled(api)]

    async with subscribe(Last_Event_ID=last) as stream:
        assert [(await stream.job())["id"], (await stream.job())["id"]] == missed


@pytest.mark.parametrize("last", ["other-1", "nonsense", "", "other-99999999999999999999", "-", "é"])
async def test_who_cannot_be_resumed_is_told_to_look_around(api: Api, subscribe: Subscribe, last: str) -> None:
    async with subscribe() as stream:
        await cancelled(api)
        await stream.event()

    async with subscribe(Last_Event_ID=last) as stream:
        assert (await stream.event())["event"] == "resync"
        new = await cancelled(api)
        assert (await stream.job())["id"] == new


async def test_lost_notifications_are_admitted(api: Api, subscribe: Subscribe, db: psycopg.Connection[DictRow]) -> None:
    async with subscribe() as stream:
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like '%listener' and datname = current_database()"
        )

        assert (await stream.event())["event"] == "resync"


@pytest.mark.parametrize(
    "query", ["status=pending", "id=x", "owner=crm", "batch_id=", "created_after=2020-01-01T00:00:00Z"]
)
async def test_a_filter_that_makes_no_sense_is_refused(refusing: Api, query: str) -> None:
    assert (await refusing.get(f"events?{query}")).refusal == (400, "invalid_request")


async def test_streams_close_when_the_server_stops(start: Start, session: ClientSession) -> None:
    server = start()
    await Api(session, server.port).listening()

    async with session.get(f"http://127.0.0.1:{server.port}/api/v1/events") as response:
        await response.content.readuntil(b"\n\n")
        await anyio.to_thread.run_sync(server.stop)
        with anyio.fail_after(SOON):
            rest = await response.content.read()

    assert rest == b""


async def test_whatever_others_notify_the_stream_goes_on(
    api: Api, subscribe: Subscribe, db: psycopg.Connection[DictRow]
) -> None:
    async with subscribe() as stream:
        for garbage in ("", "garbage", "'; drop table", "00000000-0000-0000-0000-000000000000,x"):
            for channel in ("aiserv_finished", "aiserv_ready", "aiserv_scheduled", "aiserv_cancelled"):
                db.execute("select pg_notify(%s, %s)", [channel, garbage])
        created = await api.create()
        await api.post(f"jobs/{created['id']}/cancel")

        assert (await stream.job())["id"] == created["id"]
