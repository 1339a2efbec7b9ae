"""Waiting instead of polling, for the end of a job or a batch."""

import time
from datetime import timedelta
from typing import Any

import anyio
import psycopg
import pytest
from aiohttp import ClientSession
from psycopg.rows import DictRow

from aiserv.api.finished import FinishedJobs
from aiserv.database import Database
from tests.api.client import CHAT, UNKNOWN, Answer, Api
from tests.api.conftest import Running, Start
from tests.api.waits import TOLD, Waits
from tests.waiting import SOON, until

BREAK_LISTENER = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where application_name like '%listener' and datname = current_database()
"""


async def test_a_wait_ends_with_the_job(api: Api, waits: Waits) -> None:
    job = await api.create()

    answer = await waits.answer(api.get(f"jobs/{job['id']}?wait=300s"), api.finish)

    assert (answer.job["status"], answer.job["result"]) == ("completed", {"content": "Hi"})


async def test_a_wait_with_a_known_version_is_for_the_end_and_not_for_a_change(api: Api, waits: Waits) -> None:
    job = await api.create()
    tag = (await api.get(f"jobs/{job['id']}")).headers["ETag"]

    answer = await waits.answer(api.get(f"jobs/{job['id']}?wait=300s", If_None_Match=tag), api.finish)

    assert (answer.status, answer.job["status"]) == (200, "completed")


@pytest.mark.parametrize("verb", ["cancel", "fail"])
async def test_a_wait_ends_with_every_final_state(
    api: Api, db: psycopg.Connection[DictRow], verb: str, waits: Waits
) -> None:
    job = await api.create()

    async def end() -> None:
        await api.claim()
        if verb == "cancel":
            db.execute("select aiserv.cancel_job(%s)", [job["id"]])
        else:
            db.execute("select aiserv.fail_job(%s, 'timeout', '')", [job["id"]])

    answer = await waits.answer(api.get(f"jobs/{job['id']}?wait=300s"), end)

    assert answer.job["status"] in {"cancelled", "failed"}


async def test_a_wait_that_is_over_answers_the_job_as_it_is(api: Api) -> None:
    job = await api.create()
    began = time.monotonic()

    answer = await api.get(f"jobs/{job['id']}?wait=300ms")

    assert (answer.status, answer.job["status"]) == (200, "pending")
    assert time.monotonic() - began >= 0.3


async def test_a_wait_for_a_finished_job_is_short(api: Api) -> None:
    job = await api.create()
    await api.post(f"jobs/{job['id']}/cancel")

    with anyio.fail_after(SOON):
        answer = await api.get(f"jobs/{job['id']}?wait=300s")

    assert answer.job["status"] == "cancelled"


async def test_a_wait_for_what_is_not_there_is_not_found_at_once(api: Api) -> None:
    with anyio.fail_after(SOON):
        answer = await api.get(f"jobs/{UNKNOWN}?wait=300s")

    assert answer.refusal == (404, "not_found")


async def test_a_preference_waits_too_and_is_confirmed(api: Api, waits: Waits) -> None:
    job = await api.create()

    answer = await waits.answer(api.get(f"jobs/{job['id']}", Prefer="respond-async, wait=300"), api.finish)

    assert answer.job["status"] == "completed"
    assert answer.headers["Preference-Applied"] == "wait=300"


@pytest.mark.parametrize("prefer", ["wait=x", "return=minimal", "await=5", ""])
async def test_a_preference_that_is_none_is_ignored(api: Api, prefer: str) -> None:
    job = await api.create()

    answer = await api.get(f"jobs/{job['id']}", Prefer=prefer)

    assert answer.status == 200
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("wait", ["301s", "-1s", "soon", "", "1h"])
async def test_a_wait_that_makes_no_sense_is_refused(api: Api, wait: str) -> None:
    job = await api.create()

    for answer in (await api.get(f"jobs/{job['id']}?wait={wait}"), await api.post(f"jobs?wait={wait}", CHAT)):
        assert answer.refusal == (400, "invalid_request")
        assert answer.problem["errors"][0]["field"] == "wait"


async def test_a_create_may_wait_for_the_end(api: Api, waits: Waits) -> None:
    answer = await waits.answer(api.post("jobs?wait=300s", CHAT), api.finish)

    assert (answer.status, answer.job["status"]) == (201, "completed")
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json['id']}"


async def test_a_batch_may_be_waited_for(api: Api, waits: Waits) -> None:
    old = await api.create(idempotency_key="a")
    body: Any = {**CHAT, "jobs": [{}, {"idempotency_key": "a"}, {}]}
    batch = (await api.post("jobs/batch?return=ids", body)).json

    async def finish_all() -> None:
        for _ in range(3):
            await api.finish()

    answer = await waits.answer(api.get(f"batches/{batch['batch_id']}?wait=300s"), finish_all)

    assert (answer.json["finished"], answer.json["counts"]["completed"]) == (True, 3)
    assert old["id"] in batch["ids"]


async def test_a_wait_for_a_batch_that_is_not_there_is_not_found(api: Api) -> None:
    answer = await api.get(f"batches/{UNKNOWN}?wait=300s")

    assert answer.refusal == (404, "not_found")


async def test_a_wait_ends_when_the_server_stops(start: Start, session: ClientSession, waits: Waits) -> None:
    server: Running = start()
    api = Api(session, server.port)
    job = await api.create()

    async def stop() -> None:
        await anyio.to_thread.run_sync(server.stop)

    answer = await waits.answer(api.get(f"jobs/{job['id']}?wait=300s"), stop)

    assert (answer.status, answer.job["status"]) == (200, "pending")


async def test_a_wait_outlives_a_broken_listener(api: Api, db: psycopg.Connection[DictRow], waits: Waits) -> None:
    job = await api.create()

    async def break_and_finish() -> None:
        await until(lambda: db.execute(BREAK_LISTENER).fetchall())
        await api.post(f"jobs/{job['id']}/cancel")

    answer = await waits.answer(api.get(f"jobs/{job['id']}?wait=300s"), break_and_finish)

    assert answer.job["status"] == "cancelled"


async def test_a_lost_notification_delays_a_wait_by_one_look_at_most(
    conninfo: str, db: psycopg.Connection[DictRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiserv.api.finished.LOOK_SECONDS", 0.1)
    row = db.execute("select id from aiserv.create_job('telephony', 'llm_chat', 'qwen')").fetchone()
    assert row
    answers = []

    async with Database.open(conninfo, size=1, name="waits") as database, anyio.create_task_group() as tasks:
        deaf = FinishedJobs(database)
        tasks.start_soon(deaf.run)

        async def wait() -> None:
            answers.append(await deaf.wait_for(row["id"], timedelta(minutes=1)))

        tasks.start_soon(wait)
        await until(lambda: [waiter for waiters in deaf._waiters.values() for waiter in waiters if waiter.shown])
        db.execute("select aiserv.cancel_job(%s)", [row["id"]])

        await until(lambda: answers)
        tasks.cancel_scope.cancel()

    assert answers[0].is_finished


async def test_those_who_wait_hold_no_connection(start: Start, session: ClientSession, waits: Waits) -> None:
    api = Api(session, start(DATABASE_POOL_SIZE="1").port)
    job = await api.create()
    answers: list[Answer] = []

    async def wait() -> None:
        answers.append(await api.get(f"jobs/{job['id']}?wait=300s"))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(wait)
        await until(lambda: waits.begun == 50)
        await api.finish()
        await until(lambda: len(answers) == 50, TOLD)

    assert {answer.job["status"] for answer in answers} == {"completed"}
