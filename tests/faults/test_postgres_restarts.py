"""PostgreSQL goes away under a running server and worker, and comes back."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import anyio
import psycopg
import pytest
from psycopg.rows import dict_row

from aiserv.embedded import embedded_postgres
from aiserv.migrate import migrate
from tests.processes import aiserv
from tests.providers import content, fake_provider
from tests.workers.running import after

NEW = {"owner_service": "telephony", "task_type": "llm_chat", "model_profile": "qwen", "input": {"user": "Hello?"}}
RECOVERY_SECONDS = 10


@dataclass
class Postgres:
    """A PostgreSQL of our own, at the same URL whenever it runs."""

    directory: Path
    url: str = ""
    _running: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        self.url = self._running.enter_context(embedded_postgres(self.directory, durable=False))

    def stop(self) -> None:
        self._running.close()


@contextmanager
def own_postgres(directory: Path) -> Iterator[Postgres]:
    postgres = Postgres(directory)
    postgres.start()
    try:
        migrate(postgres.url)
        yield postgres
    finally:
        postgres.stop()


async def completed(http: aiohttp.ClientSession, seconds: float) -> None:
    """Create a job and see it completed, patiently."""
    with anyio.fail_after(seconds):
        while True:
            async with http.post("/api/v1/jobs", json=NEW) as response:
                job = await response.json()
                if response.status == 201:
                    break
                assert response.status == 503
            await anyio.sleep(0.05)
        while job["status"] != "completed":
            await anyio.sleep(0.05)
            async with http.get(f"/api/v1/jobs/{job['id']}") as response:
                job = await response.json()


@pytest.mark.slow
@pytest.mark.parametrize("seconds_away", [0, 5])
async def test_server_and_worker_recover_by_themselves_and_lose_no_result(seconds_away: int, tmp_path: Path) -> None:
    may_answer = anyio.Event()
    async with fake_provider() as provider:
        with own_postgres(tmp_path) as postgres:
            variables = {"DATABASE_URL": postgres.url, "LLM_BASE_URL": provider.base_url}
            with aiserv("serve", **variables) as server, aiserv("worker", "llm", **variables) as worker:
                async with aiohttp.ClientSession(f"http://127.0.0.1:{await server.port()}") as http:
                    await worker.port()
                    await completed(http, RECOVERY_SECONDS)
                    provider.answers(after(may_answer, content("Kept.")), content("Hello."))
                    async with http.post("/api/v1/jobs", json=NEW) as response:
                        in_flight = (await response.json())["id"]
                    await provider.called(2)

                    postgres.stop()
                    may_answer.set()
                    await provider.idle()
                    await anyio.sleep(seconds_away)  # an outage takes its time
                    postgres.start()

                    await completed(http, RECOVERY_SECONDS)
                    with psycopg.connect(postgres.url, row_factory=dict_row) as connection:
                        kept = connection.execute(
                            "select result, attempt from aiserv.jobs where id = %s", [in_flight]
                        ).fetchone()
                assert (server.popen.poll(), worker.popen.poll()) == (None, None)
    assert kept
    assert (kept["result"]["content"], kept["attempt"]) == ("Kept.", 1)
    assert "Traceback" not in server.text + worker.text
