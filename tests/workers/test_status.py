"""The worker's own port: what it says of itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest

from aiserv.http.serving import serving
from aiserv.settings import Settings
from tests.waiting import until
from tests.workers.running import Db, create, finished, never, raises, running, say_hello
from workers.attempt import End
from workers.executors import Executor
from workers.executors.observed import observed
from workers.failures import Failure
from workers.status import status_application
from workers.worker import Worker

SECRET = "p4ssw0rd"
NO_TIME = timedelta(0)
KEYS = {
    "worker_id": str,
    "instance_id": str,
    "state": str,
    "started_at": str,
    "uptime_seconds": float,
    "task_types": list,
    "model_profiles": list,
    "claim_limit": int,
    "poll_interval": str,
    "lease_timeout": str,
    "in_flight": list,
    "processed": int,
    "completed": int,
    "failed": int,
    "released": int,
    "lease_lost": int,
    "last_claim_at": str,
    "last_error": type(None),
    "listener": dict,
}


@asynccontextmanager
async def port_of(conninfo: str, execute: Executor) -> AsyncIterator[tuple[Worker, aiohttp.ClientSession]]:
    settings = Settings.load({"DATABASE_URL": conninfo})
    async with (
        running(conninfo, execute, secrets=[SECRET]) as worker,
        serving(status_application(worker, settings.worker), "127.0.0.1", 0, shutdown_timeout=NO_TIME) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
    ):
        yield worker, http


async def status(http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get("/worker/status", raise_for_status=True) as response:
        document: dict[str, Any] = await response.json()
    return document


async def metrics(http: aiohttp.ClientSession) -> str:
    async with http.get("/metrics", raise_for_status=True) as response:
        return await response.text()


async def test_the_status_has_every_key_of_the_contract(conninfo: str) -> None:
    async with port_of(conninfo, say_hello) as (worker, http):
        document = await status(http)

    assert {key: type(value) for key, value in document.items()} == KEYS
    assert document["listener"] == {"connected": True, "last_notification_at": None, "reconnects": 0} | {
        "last_notification_at": document["listener"]["last_notification_at"]
    }
    assert (document["worker_id"], document["state"]) == ("worker-1", "idle")
    assert document["instance_id"] == str(worker.instance_id)
    assert (document["poll_interval"], document["lease_timeout"]) == ("2s", "15m0s")
    assert datetime.fromisoformat(document["started_at"]).utcoffset() == NO_TIME


async def test_the_status_shows_what_is_in_flight(conninfo: str, db: Db) -> None:
    async with port_of(conninfo, never) as (worker, http):
        job_id = create(db)
        await until(lambda: worker.attempts)

        document = await status(http)

    (shown,) = document["in_flight"]
    assert document["state"] == "running"
    assert set(shown) == {"id", "task_type", "attempt", "started_at", "lease_expires_at"}
    assert (shown["id"], shown["task_type"], shown["attempt"]) == (str(job_id), "llm_chat", 1)
    lease = datetime.fromisoformat(shown["lease_expires_at"]) - datetime.fromisoformat(shown["started_at"])
    assert lease == pytest.approx(timedelta(seconds=60), abs=timedelta(seconds=1))


@pytest.mark.parametrize(
    ("execute", "counted", "last_error"),
    [
        (say_hello, "completed", None),
        (raises(Failure("invalid_input", "no")), "failed", "invalid_input"),
        (raises(Failure("rate_limited", "later")), "released", "rate_limited"),
        (never, "lease_lost", None),
    ],
)
async def test_the_status_counts_what_became_of_attempts(
    conninfo: str, db: Db, execute: Executor, counted: str, last_error: str | None
) -> None:
    async with port_of(conninfo, execute) as (worker, http):
        job_id = create(db)
        if execute is never:
            await until(lambda: worker.attempts)
            db.execute("select aiserv.cancel_job(%s)", [job_id])
        await until(lambda: worker.record.ends.total() == 1)

        document = await status(http)

    ends = {key: document[key] for key in ("completed", "failed", "released", "lease_lost")}
    assert ends == {"completed": 0, "failed": 0, "released": 0, "lease_lost": 0, counted: 1}
    assert (document["processed"], document["last_error"]) == (1, last_error)


async def test_a_draining_worker_is_alive_and_not_ready(conninfo: str, db: Db) -> None:
    async with port_of(conninfo, never) as (worker, http):
        async with http.get("/readyz") as response:
            assert response.status == 200
        create(db)
        await until(lambda: worker.attempts)

        worker.drain()

        assert (await status(http))["state"] == "draining"
        async with http.get("/readyz") as response:
            assert (response.status, (await response.json())["detail"]) == (503, "the worker is draining")
        async with http.get("/healthz") as response:
            assert response.status == 200


async def test_the_metrics_of_the_contract_are_there(conninfo: str, db: Db) -> None:
    async with port_of(conninfo, say_hello) as (worker, http):
        worker._runner._execute = observed("llm", say_hello, worker.metrics)
        await finished(db, create(db))
        await until(lambda: worker.record.ends[End.COMPLETED])

        text = await metrics(http)

    labels = 'model_profile="qwen",task_type="llm_chat"'
    for line in (
        f'aiserv_transitions_total{{{labels},transition="claim"}} 1.0',
        f'aiserv_transitions_total{{{labels},transition="complete"}} 1.0',
        "aiserv_pickup_seconds_count 1.0",
        'aiserv_attempt_seconds_count{model_profile="qwen",outcome="completed",task_type="llm_chat"} 1.0',
        'aiserv_provider_request_seconds_count{outcome="ok",provider="llm"} 1.0',
        'aiserv_tokens_total{kind="prompt",model_profile="qwen"} 0.0',
        "aiserv_listener_connected 1.0",
        "aiserv_worker_slots 4.0",
        "aiserv_worker_slots_busy 0.0",
    ):
        assert line in text


async def test_no_owner_and_no_secret_is_shown(conninfo: str, db: Db) -> None:
    async with port_of(conninfo, say_hello) as (worker, http):
        await finished(db, create(db, {"user": SECRET}, owner_ref=SECRET))
        await until(lambda: worker.record.ends[End.COMPLETED])

        shown = f"{await status(http)} {await metrics(http)}"

    assert SECRET not in shown
    assert "telephony" not in shown
