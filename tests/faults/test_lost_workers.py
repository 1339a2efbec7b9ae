"""Workers that die or are paused in the middle of a job."""

import signal
from typing import Any

import aiohttp
import anyio
import psycopg
import pytest
from psycopg.rows import DictRow

from tests.processes import Process, aiserv
from tests.providers import content, fake_provider, hangs
from tests.workers.running import after, create, finished, job, until

Db = psycopg.Connection[DictRow]
LEASE_SECONDS = 3
WORKER = ("worker", "llm")


async def status(worker: Process) -> dict[str, Any]:
    url = f"http://127.0.0.1:{await worker.port()}/worker/status"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        document: dict[str, Any] = await response.json()
    return document


@pytest.mark.slow
async def test_another_worker_takes_the_job_of_a_killed_one_over_within_its_lease_and_two_seconds(
    conninfo: str, db: Db
) -> None:
    async with fake_provider() as provider:
        variables = {
            "DATABASE_URL": conninfo,
            "LLM_BASE_URL": provider.base_url,
            "WORKER_LEASE_TIMEOUT": f"{LEASE_SECONDS}s",
        }
        provider.answers(hangs(), content("By the other."))
        with aiserv(*WORKER, WORKER_ID="killed", **variables) as killed:
            await killed.port()
            job_id = create(db, {"user": "Hello?"})
            await provider.called()

            with aiserv(*WORKER, WORKER_ID="other", **variables) as other:
                await other.port()
                killed.send(signal.SIGKILL)
                done = await finished(db, job_id, LEASE_SECONDS + 2)

    assert (done["result"]["content"], done["attempt"], done["worker_id"]) == ("By the other.", 2, "other")
    lost, taken = db.execute("select outcome, worker_id from aiserv.list_attempts(%s)", [job_id]).fetchall()
    assert (lost["outcome"], lost["worker_id"], taken["outcome"]) == ("lease_expired", "killed", "completed")


@pytest.mark.slow
async def test_a_paused_worker_drops_the_result_of_a_job_that_was_taken_over(conninfo: str, db: Db) -> None:
    may_answer = anyio.Event()
    async with fake_provider() as provider:
        variables = {
            "DATABASE_URL": conninfo,
            "LLM_BASE_URL": provider.base_url,
            "WORKER_LEASE_TIMEOUT": "1s",
        }
        provider.answers(after(may_answer, content("By the paused.")), content("By the other."))
        with aiserv(*WORKER, WORKER_ID="paused", **variables) as paused:
            await paused.port()
            job_id = create(db, {"user": "Hello?"})
            await provider.called()
            with aiserv(*WORKER, WORKER_ID="other", **variables) as other:
                await other.port()

                paused.send(signal.SIGSTOP)
                await finished(db, job_id)
                other.send(signal.SIGTERM)
                await other.ended()
            may_answer.set()
            await provider.idle()
            paused.send(signal.SIGCONT)

            await paused.says(f"job {job_id} attempt 1: lease_lost", 5)
            assert (await status(paused))["last_error"] in {None, "JL409"}
            assert job(db, job_id)["result"]["content"] == "By the other."
            assert (await finished(db, create(db, {"user": "Again?"})))["worker_id"] == "paused"


@pytest.mark.slow
async def test_a_worker_without_a_server_works_on(conninfo: str, db: Db) -> None:
    async with fake_provider() as provider:
        with (
            aiserv("serve", DATABASE_URL=conninfo) as server,
            aiserv(*WORKER, DATABASE_URL=conninfo, LLM_BASE_URL=provider.base_url) as worker,
        ):
            await server.port()
            await worker.port()

            server.send(signal.SIGKILL)
            await server.ended()

            assert (await finished(db, create(db, {"user": "Hello?"})))["status"] == "completed"
            await until(lambda: worker.popen.poll() is None)
