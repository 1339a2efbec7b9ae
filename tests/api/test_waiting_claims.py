"""Waiting instead of polling, for work."""

import logging
from collections.abc import Callable
from typing import Any

import anyio
import psycopg
import pytest
from aiohttp import ClientSession
from psycopg.rows import DictRow

from tests.api.client import CHAT, Api
from tests.api.conftest import Start
from tests.api.waits import Waits
from tests.waiting import SOON, until, until_found


async def test_a_claim_may_wait_for_work(api: Api, waits: Waits) -> None:
    body: Any = {"worker_id": "w", "wait": "60s", "model_profiles": [CHAT["model_profile"]]}

    answer = await waits.answer(api.post("jobs/claim", body), api.create)

    assert len(answer.json["jobs"]) == 1


async def test_a_claim_waits_for_the_time_of_a_job(api: Api, waits: Waits) -> None:
    answer = await waits.answer(
        api.post("jobs/claim", {"worker_id": "w", "wait": "60s"}), lambda: api.create(delay="500ms")
    )

    (job,) = answer.json["jobs"]
    assert job["started_at"] >= job["run_at"]


async def test_a_claim_that_waits_is_woken_by_a_resumed_queue(api: Api, waits: Waits) -> None:
    await api.create(model_profile="a")
    await api.send("PUT", "queues/a", {"paused": True})

    answer = await waits.answer(
        api.post("jobs/claim", {"worker_id": "w", "wait": "60s"}),
        lambda: api.send("PUT", "queues/a", {"paused": False}),
    )

    assert len(answer.json["jobs"]) == 1


async def test_a_claim_whose_wait_is_over_gets_nothing(api: Api) -> None:
    with anyio.fail_after(SOON):
        answer = await api.post("jobs/claim", {"worker_id": "w", "wait": "200ms"})

    assert answer.json == {"jobs": []}


async def test_each_of_many_waiting_claims_gets_a_job_of_its_own(api: Api) -> None:
    got: list[str] = []

    async def claim(number: int) -> None:
        answer = await api.post("jobs/claim", {"worker_id": f"w{number}", "wait": "60s"})
        got.extend(job["id"] for job in answer.json["jobs"])

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(claim, number)
            created = (await api.post("jobs/batch?return=ids", {**CHAT, "jobs": [{}] * 20})).json["ids"]

    assert sorted(got) == sorted(created)


async def test_a_claim_whose_client_is_gone_takes_no_job(api: Api, db: psycopg.Connection[DictRow]) -> None:
    body = b'{"worker_id":"gone","wait":"60s"}'
    head = f"POST /api/v1/jobs/claim HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with await anyio.connect_tcp("127.0.0.1", api.port) as stream:
        await stream.send(head + body)
        await until_found(db, "select from aiserv.workers where worker_id = 'gone'")

    job = await api.create()
    claimed = await api.claim(worker_id="here", wait="60s")

    assert claimed["id"] == job["id"]


async def test_a_claim_that_waits_ends_when_the_server_stops(
    start: Start, session: ClientSession, waits: Waits
) -> None:
    server = start()
    api = Api(session, server.port)

    async def stop() -> None:
        await anyio.to_thread.run_sync(server.stop)

    answer = await waits.answer(api.post("jobs/claim", {"worker_id": "w", "wait": "60s"}), stop)

    assert answer.json == {"jobs": []}


async def held_up_and_gone(
    api: Api,
    db: psycopg.Connection[DictRow],
    connect: Callable[..., psycopg.Connection[DictRow]],
    body: bytes,
) -> psycopg.Connection[DictRow]:
    """Who holds up a claim with this body, in a transaction; meanwhile the claim's client has gone."""
    locker = connect()
    locker.execute("begin")
    locker.execute("lock table aiserv.lease in access exclusive mode")
    head = f"POST /api/v1/jobs/claim HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with await anyio.connect_tcp("127.0.0.1", api.port) as stream:
        await stream.send(head + body)
        await until_found(db, "select from pg_locks where not granted and relation = 'aiserv.lease'::regclass")
    return locker


async def test_a_claim_whose_client_is_gone_gives_its_jobs_back(
    api: Api, db: psycopg.Connection[DictRow], connect: Callable[..., psycopg.Connection[DictRow]]
) -> None:
    job = await api.create()
    locker = await held_up_and_gone(api, db, connect, b'{"worker_id":"gone"}')

    locker.execute("rollback")
    await until_found(db, "select from aiserv.attempts where outcome = 'released'")

    shown = (await api.get(f"jobs/{job['id']}")).job
    assert (shown["status"], shown["attempt"], shown["failures"]) == ("pending", 1, 0)


async def test_a_repeated_claim_keeps_what_the_first_one_would_give_back(
    api: Api,
    db: psycopg.Connection[DictRow],
    connect: Callable[..., psycopg.Connection[DictRow]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "aiserv.api.claims")
    await api.create()
    locker = await held_up_and_gone(api, db, connect, b'{"worker_id":"w","claim_id":"c"}')
    repeated: list[dict[str, Any]] = []

    async def repeat() -> None:
        repeated.append(await api.claim(worker_id="w", claim_id="c"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(repeat)
        await until_found(db, "select from pg_locks where not granted and locktype = 'advisory'")
        locker.execute("rollback")
    await until(
        lambda: (
            "is not given back" in caplog.text
            or db.execute("select from aiserv.attempts where outcome = 'released'").fetchall()
        )
    )

    shown = (await api.get(f"jobs/{repeated[0]['id']}")).job
    assert (shown["status"], shown["attempt"]) == ("running", repeated[0]["attempt"])
