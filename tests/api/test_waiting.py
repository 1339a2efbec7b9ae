"""Waiting instead of polling: for the end of a job or a batch, and for work."""

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import psycopg
import pytest
from aiohttp import ClientSession
from psycopg.rows import DictRow

from aiserv.api.finished import FinishedJobs
from aiserv.database import Database
from tests.api.client import CHAT, Answer, Api
from tests.api.conftest import Running, Start
from tests.waiting import SOON, until


async def both(first: Awaitable[Answer], then: Callable[[], Awaitable[object]]) -> tuple[Answer, float]:
    """The answer of the first while the other happens, and how many seconds it took after that."""
    answers: list[Answer] = []
    done = 0.0

    async def wait() -> None:
        answers.append(await first)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.sleep(0.2)  # for the request to arrive: waiting begins at some time, and nothing says when
            assert not answers
            await then()
            done = time.monotonic()
    return answers[0], time.monotonic() - done


async def finish(api: Api, **fields: Any) -> None:  # noqa: ANN401 - of a claim
    job = await api.claim(**fields)
    await api.post(f"jobs/{job['id']}/complete", {"result": {"content": "Hi"}, "attempt": job["attempt"]})


async def test_a_wait_ends_with_the_job(api: Api) -> None:
    job = await api.create()

    answer, late = await both(api.get(f"jobs/{job['id']}?wait=30s"), lambda: finish(api))

    assert (answer.job["status"], answer.job["result"]) == ("completed", {"content": "Hi"})
    assert late < SOON


async def test_a_wait_with_a_known_version_is_for_the_end_and_not_for_a_change(api: Api) -> None:
    job = await api.create()
    tag = (await api.get(f"jobs/{job['id']}")).headers["ETag"]

    answer, _ = await both(api.get(f"jobs/{job['id']}?wait=30s", If_None_Match=tag), lambda: finish(api))

    assert (answer.status, answer.job["status"]) == (200, "completed")


@pytest.mark.parametrize("verb", ["cancel", "fail"])
async def test_a_wait_ends_with_every_final_state(api: Api, db: psycopg.Connection[DictRow], verb: str) -> None:
    job = await api.create()

    async def end() -> None:
        await api.claim()
        if verb == "cancel":
            db.execute("select aiserv.cancel_job(%s)", [job["id"]])
        else:
            db.execute("select aiserv.fail_job(%s, 'timeout', '')", [job["id"]])

    answer, _ = await both(api.get(f"jobs/{job['id']}?wait=30s"), end)

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

    with anyio.fail_after(5):
        answer = await api.get(f"jobs/{job['id']}?wait=300s")

    assert answer.job["status"] == "cancelled"


async def test_a_wait_for_what_is_not_there_is_not_found_at_once(api: Api) -> None:
    with anyio.fail_after(5):
        answer = await api.get("jobs/0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10?wait=300s")

    assert answer.refusal == (404, "not_found")


async def test_a_preference_waits_too_and_is_confirmed(api: Api) -> None:
    job = await api.create()

    answer, _ = await both(api.get(f"jobs/{job['id']}", Prefer="respond-async, wait=30"), lambda: finish(api))

    assert answer.job["status"] == "completed"
    assert answer.headers["Preference-Applied"] == "wait=30"


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


async def test_a_create_may_wait_for_the_end(api: Api) -> None:
    answer, _ = await both(api.post("jobs?wait=30s", CHAT), lambda: finish(api))

    assert (answer.status, answer.job["status"]) == (201, "completed")
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json['id']}"


async def test_a_batch_may_be_waited_for(api: Api) -> None:
    old = await api.create(idempotency_key="a")
    body: Any = {**CHAT, "jobs": [{}, {"idempotency_key": "a"}, {}]}
    batch = (await api.post("jobs/batch?return=ids", body)).json

    async def finish_all() -> None:
        for _ in range(3):
            await finish(api)

    answer, late = await both(api.get(f"batches/{batch['batch_id']}?wait=30s"), finish_all)

    assert (answer.json["finished"], answer.json["counts"]["completed"]) == (True, 3)
    assert old["id"] in batch["ids"]
    assert late < SOON


async def test_a_wait_for_a_batch_that_is_not_there_is_not_found(api: Api) -> None:
    answer = await api.get("batches/0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10?wait=300s")

    assert answer.refusal == (404, "not_found")


async def test_a_claim_may_wait_for_work(api: Api) -> None:
    body: Any = {"worker_id": "w", "wait": "30s", "model_profiles": [CHAT["model_profile"]]}

    answer, late = await both(api.post("jobs/claim", body), api.create)

    assert len(answer.json["jobs"]) == 1
    assert late < SOON


async def test_a_claim_waits_for_the_time_of_a_job(api: Api) -> None:
    answer, _ = await both(api.post("jobs/claim", {"worker_id": "w", "wait": "30s"}), lambda: api.create(delay="500ms"))

    (job,) = answer.json["jobs"]
    assert job["started_at"] >= job["run_at"]


async def test_a_claim_that_waits_is_woken_by_a_resumed_queue(api: Api) -> None:
    await api.create(model_profile="a")
    await api.send("PUT", "queues/a", {"paused": True})

    answer, _ = await both(
        api.post("jobs/claim", {"worker_id": "w", "wait": "30s"}),
        lambda: api.send("PUT", "queues/a", {"paused": False}),
    )

    assert len(answer.json["jobs"]) == 1


async def test_a_claim_whose_wait_is_over_gets_nothing(api: Api) -> None:
    with anyio.fail_after(5):
        answer = await api.post("jobs/claim", {"worker_id": "w", "wait": "200ms"})

    assert answer.json == {"jobs": []}


async def test_each_of_many_waiting_claims_gets_a_job_of_its_own(api: Api) -> None:
    got: list[str] = []

    async def claim(number: int) -> None:
        answer = await api.post("jobs/claim", {"worker_id": f"w{number}", "wait": "30s"})
        got.extend(job["id"] for job in answer.json["jobs"])

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(claim, number)
            created = (await api.post("jobs/batch?return=ids", {**CHAT, "jobs": [{}] * 20})).json["ids"]

    assert sorted(got) == sorted(created)


async def test_a_claim_whose_client_is_gone_takes_no_job(api: Api, db: psycopg.Connection[DictRow]) -> None:
    body = b'{"worker_id":"gone","wait":"30s"}'
    head = f"POST /api/v1/jobs/claim HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with await anyio.connect_tcp("127.0.0.1", api.port) as stream:
        await stream.send(head + body)
        await until_found(db, "select from aiserv.workers where worker_id = 'gone'")

    job = await api.create()
    claimed = await api.claim(worker_id="here", wait="10s")

    assert claimed["id"] == job["id"]


async def test_a_wait_ends_when_the_server_stops(start: Start, session: ClientSession) -> None:
    server: Running = start()
    api = Api(session, server.port)
    job = await api.create()

    async def stop() -> None:
        await anyio.to_thread.run_sync(server.stop)

    answer, late = await both(api.get(f"jobs/{job['id']}?wait=30s"), stop)

    assert (answer.status, answer.job["status"]) == (200, "pending")
    assert late < 2


async def test_a_claim_that_waits_ends_when_the_server_stops(start: Start, session: ClientSession) -> None:
    server = start()
    api = Api(session, server.port)

    async def stop() -> None:
        await anyio.to_thread.run_sync(server.stop)

    answer, _ = await both(api.post("jobs/claim", {"worker_id": "w", "wait": "30s"}), stop)

    assert answer.json == {"jobs": []}


async def test_a_wait_outlives_a_broken_listener(api: Api, db: psycopg.Connection[DictRow]) -> None:
    job = await api.create()

    async def break_and_finish() -> None:
        db.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name like '%listener' and datname = current_database()"
        )
        await api.post(f"jobs/{job['id']}/cancel")

    answer, _ = await both(api.get(f"jobs/{job['id']}?wait=30s"), break_and_finish)

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


async def test_those_who_wait_hold_no_connection(start: Start, session: ClientSession) -> None:
    api = Api(session, start(DATABASE_POOL_SIZE="1").port)
    job = await api.create()
    answers: list[Answer] = []

    async def wait() -> None:
        answers.append(await api.get(f"jobs/{job['id']}?wait=30s"))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(wait)
            await anyio.sleep(0.3)
            await finish(api)

    assert {answer.job["status"] for answer in answers} == {"completed"}


async def test_a_claim_whose_client_is_gone_gives_its_jobs_back(
    api: Api, db: psycopg.Connection[DictRow], connect: Callable[..., psycopg.Connection[DictRow]]
) -> None:
    job = await api.create()
    locker = connect()
    locker.execute("begin")
    locker.execute("lock table aiserv.lease in access exclusive mode")
    body = b'{"worker_id":"gone"}'
    head = f"POST /api/v1/jobs/claim HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with await anyio.connect_tcp("127.0.0.1", api.port) as stream:
        await stream.send(head + body)
        await until_found(db, "select from pg_locks where not granted and relation = 'aiserv.lease'::regclass")

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
    locker = connect()
    locker.execute("begin")
    locker.execute("lock table aiserv.lease in access exclusive mode")
    body = b'{"worker_id":"w","claim_id":"c"}'
    head = f"POST /api/v1/jobs/claim HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with await anyio.connect_tcp("127.0.0.1", api.port) as stream:
        await stream.send(head + body)
        await until_found(db, "select from pg_locks where not granted and relation = 'aiserv.lease'::regclass")
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
        ),
        10,
    )

    shown = (await api.get(f"jobs/{repeated[0]['id']}")).job
    assert (shown["status"], shown["attempt"]) == ("running", repeated[0]["attempt"])


async def until_found(db: psycopg.Connection[DictRow], query: str) -> None:
    """Wait until the query has an answer."""
    await until(lambda: db.execute(query).fetchall(), 10)
