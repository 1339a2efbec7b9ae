"""A job's whole way: HTTP, SQL function, NOTIFY, worker, provider, result."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import anyio
import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv.api.process import serve
from aiserv.settings import Settings
from tests.processes import ENVIRON
from tests.providers import FakeProvider, content, fake_provider, hangs, refuses
from tests.waiting import SOON, until
from workers.process import work

pytestmark = pytest.mark.usefixtures("patient")

NEW = {"owner_service": "telephony", "task_type": "llm_chat", "model_profile": "qwen", "input": {"user": "Hello?"}}
TOKEN = "t0ken"
LISTENERS = """
    from pg_stat_activity where application_name like 'aiserv % listener' and datname = current_database()
"""


@dataclass
class Service:
    """A server and a worker that never polls, in this process but over sockets."""

    http: aiohttp.ClientSession
    worker: aiohttp.ClientSession
    provider: FakeProvider

    async def post(self, path: str, body: object = None) -> dict[str, Any]:
        async with self.http.post(path, json=body or {}) as response:
            answer: dict[str, Any] = await response.json()
            assert response.ok, answer
        return answer

    async def get(self, path: str) -> dict[str, Any]:
        async with self.http.get(path) as response:
            answer: dict[str, Any] = await response.json()
        return answer

    async def worker_status(self) -> dict[str, Any]:
        async with self.worker.get("/worker/status") as response:
            answer: dict[str, Any] = await response.json()
        return answer

    async def finished(self, job: dict[str, Any], status: str = "completed") -> dict[str, Any]:
        """The job once it has this status."""
        with anyio.fail_after(SOON):
            while job["status"] != status:
                await anyio.sleep(0.01)
                job = await self.get(f"/api/v1/jobs/{job['id']}")
        return job


@asynccontextmanager
async def service(conninfo: str, **variables: str) -> AsyncIterator[Service]:
    async with fake_provider() as provider, anyio.create_task_group() as tasks:
        settings = Settings.load(
            {
                **ENVIRON,
                "DATABASE_URL": conninfo,
                "LLM_BASE_URL": provider.base_url,
                "AI_SERVICE_TOKEN": TOKEN,
                "WORKER_POLL_INTERVAL": "1h",
                **variables,
            }
        )
        stop = anyio.Event()
        port = await tasks.start(serve, settings, stop)
        worker_port = await tasks.start(work, settings, stop)
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}) as http,
            aiohttp.ClientSession(f"http://127.0.0.1:{worker_port}") as worker,
        ):
            yield Service(http, worker, provider)
        stop.set()


async def test_a_job_travels_the_whole_way(conninfo: str) -> None:
    async with service(conninfo) as it:
        created = await it.post("/api/v1/jobs", NEW)
        done = await it.finished(created)

        (asked,) = it.provider.requests
    assert created["status"] == "pending"
    assert (done["result"]["content"], done["result"]["usage"], done["attempt"]) == ("Hello.", done["usage"], 1)
    assert asked.json == {"model": "qwen", "messages": [{"role": "user", "content": "Hello?"}]}


async def test_a_job_committed_with_psql_travels_it_too(conninfo: str, db: psycopg.Connection[DictRow]) -> None:
    async with service(conninfo) as it:
        with db.transaction():
            row = db.execute(
                "select id, status from aiserv.create_job("
                "'crm', 'llm_chat', 'qwen', '{\"user\": \"Hello?\"}', owner_ref => 'call/7')"
            ).fetchone()
            assert row
            assert not it.provider.requests

        done = await it.finished({"id": row["id"], "status": row["status"]})
    assert done["result"]["content"] == "Hello."


async def test_a_scheduled_job_starts_at_its_time(conninfo: str) -> None:
    async with service(conninfo) as it:
        done = await it.finished(await it.post("/api/v1/jobs", {**NEW, "delay": "1s"}))

    assert done["run_at"] <= done["started_at"]


async def test_a_batch_is_worked_off(conninfo: str) -> None:
    shared = {name: NEW[name] for name in ("owner_service", "task_type", "model_profile")}
    jobs = [{"input": {"user": f"Number {number}?"}} for number in range(20)]

    async with service(conninfo) as it:
        batch = await it.post("/api/v1/jobs/batch", {"defaults": shared, "jobs": jobs})
        for job in batch["jobs"]:
            await it.finished(job)

        asked = {str(request.json) for request in it.provider.requests}
    assert len(asked) == 20


async def test_a_cancel_over_http_closes_the_connection_to_the_provider(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A second is promised, of a machine that does not stand still. The renewal of leases would tell it, too, and later.
    monkeypatch.setattr("workers.worker.LONGEST_LEASE", timedelta(hours=1))
    async with service(conninfo, WORKER_LEASE_TIMEOUT="1h") as it:
        it.provider.answers(hangs())
        job = await it.post("/api/v1/jobs", NEW)
        await it.provider.called()

        await it.post(f"/api/v1/jobs/{job['id']}/cancel", {"reason": "changed my mind"})

        with anyio.fail_after(SOON):
            await it.provider.disconnected()
        cancelled = await it.finished(job, "cancelled")
    assert cancelled["error_message"] == "changed my mind"


async def test_the_time_limit_of_a_job_holds_for_its_call(conninfo: str) -> None:
    async with service(conninfo) as it:
        it.provider.answers(hangs())
        job = await it.post("/api/v1/jobs", {**NEW, "timeout_seconds": 1, "max_attempts": 1})

        failed = await it.finished(job, "failed")
    assert (failed["error_category"], failed["error_message"]) == (
        "timeout",
        "the provider did not answer within 1 s",
    )


async def test_the_trace_of_a_job_is_that_of_its_call(conninfo: str) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    async with service(conninfo) as it:
        await it.finished(await it.post("/api/v1/jobs", {**NEW, "traceparent": trace}))

        (asked,) = it.provider.requests
    assert asked.headers["traceparent"] == trace


async def test_a_failed_job_may_be_retried(conninfo: str) -> None:
    async with service(conninfo) as it:
        it.provider.answers(refuses(400, "This is not how to ask."), content("Well then."))
        failed = await it.finished(await it.post("/api/v1/jobs", NEW), "failed")

        retried = await it.finished(await it.post(f"/api/v1/jobs/{failed['id']}/retry"))
        attempts = await it.get(f"/api/v1/jobs/{failed['id']}/attempts")
    assert (failed["error_category"], retried["result"]["content"]) == ("invalid_input", "Well then.")
    assert [attempt["outcome"] for attempt in attempts["attempts"]] == ["failed", "completed"]


async def test_a_provider_that_is_overloaded_gets_the_job_again(conninfo: str) -> None:
    async with service(conninfo) as it:
        it.provider.answers(refuses(429, "Slow down.", headers={"Retry-After": "1"}), content("Now."))

        done = await it.finished(await it.post("/api/v1/jobs", NEW))
    assert (done["result"]["content"], done["attempt"], done["failures"]) == ("Now.", 2, 0)


async def test_a_worker_in_any_language_needs_nothing_but_http(conninfo: str) -> None:
    async with service(conninfo) as it:
        job = await it.post("/api/v1/jobs", {**NEW, "task_type": "ocr", "model_profile": "paddle"})

        (claimed,) = (await it.post("/api/v1/jobs/claim", {"worker_id": "mine", "task_types": ["ocr"]}))["jobs"]
        held = {"attempt": claimed["attempt"], "worker_id": "mine"}
        await it.post(f"/api/v1/jobs/{job['id']}/heartbeat", held | {"progress": {"page": 1}})
        done = await it.post(f"/api/v1/jobs/{job['id']}/complete", held | {"result": {"text": "…"}})
    assert (claimed["id"], done["status"], done["result"]) == (job["id"], "completed", {"text": "…"})


async def test_the_status_of_the_worker_tells_what_it_did(conninfo: str) -> None:
    async with service(conninfo) as it:
        await it.finished(await it.post("/api/v1/jobs", NEW))

        # The worker counts what PostgreSQL has accepted, so the caller may be told first; nor need it hear to claim.
        with anyio.fail_after(SOON):
            while not ((status := await it.worker_status())["completed"] and status["listener"]["connected"]):  # noqa: ASYNC110
                await anyio.sleep(0.005)
        async with it.worker.get("/metrics") as response:
            metrics = await response.text()
        (shown,) = (await it.get("/api/v1/workers"))["workers"]
    assert (shown["kind"], shown["instance_id"], shown["state"]) == ("builtin", status["instance_id"], "live")
    assert (status["completed"], status["model_profiles"], status["listener"]["connected"]) == (1, ["qwen"], True)
    assert 'aiserv_tokens_total{kind="completion",model_profile="qwen"} 3.0' in metrics
    assert 'aiserv_provider_request_seconds_count{outcome="ok",provider="llm"} 1.0' in metrics


async def test_a_job_is_not_lost_when_the_listeners_die(conninfo: str, db: psycopg.Connection[DictRow]) -> None:
    async with service(conninfo) as it:
        await until(lambda: db.execute(f"select pid {LISTENERS}").rowcount == 2)
        db.execute(f"select pg_terminate_backend(pid) {LISTENERS}")

        await it.finished(await it.post("/api/v1/jobs", NEW))
