"""Real processes: what they do with signals, with each other, and with wrong settings."""

import signal
import socket
from collections.abc import Callable
from contextlib import suppress

import aiohttp
import anyio
import psycopg
import pytest
from psycopg.rows import DictRow

from tests.processes import aiserv
from tests.providers import content, fake_provider, hangs
from tests.waiting import SOON, until
from tests.workers.running import after, create, finished, job

Db = psycopg.Connection[DictRow]

STAND_STILL = """
    create table public.go (at timestamptz default now());
    create function public.stand_still() returns trigger language plpgsql security definer as $$
    begin
        while not exists (select from public.go) loop
            perform pg_sleep(0.01);
        end loop;
        return null;
    end
    $$;
    create trigger stand_still before update on aiserv.job execute function public.stand_still();
"""
STANDING_STILL = "select from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"


async def readiness(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as response:
        return response.status, await response.text()


async def test_a_server_and_a_worker_complete_a_job_and_stop_when_told(conninfo: str, db: Db) -> None:
    async with fake_provider() as provider:
        with (
            aiserv("serve", DATABASE_URL=conninfo) as server,
            aiserv("worker", "llm", DATABASE_URL=conninfo, LLM_BASE_URL=provider.base_url) as worker,
        ):
            api = f"http://127.0.0.1:{await server.port()}/api/v1/jobs"
            await worker.port()
            new = {
                "owner_service": "telephony",
                "task_type": "llm_chat",
                "model_profile": "qwen",
                "input": {"user": "Hello?"},
            }
            async with aiohttp.ClientSession() as http, http.post(api, json=new) as response:
                created = await response.json()
            done = await finished(db, created["id"])

            for process in (server, worker):
                process.send(signal.SIGTERM)
            assert [await server.ended(), await worker.ended()] == [0, 0]
    assert done["result"]["content"] == "Hello."
    assert {line["level"] for line in server.logged() + worker.logged()} <= {"info", "warning"}


@pytest.fixture
def standing_still(db: Db) -> Callable[[], bool]:
    """Has cancels stand still until `go` has a row, by no lock, for which nobody waits long. Says whether one does."""
    db.execute(STAND_STILL)
    return lambda: bool(db.execute(STANDING_STILL).fetchall())


async def test_a_request_in_flight_finishes_while_new_ones_are_turned_away(
    conninfo: str, db: Db, standing_still: Callable[[], bool]
) -> None:
    job_id = create(db)
    with aiserv("serve", DATABASE_URL=conninfo, HTTP_SHUTDOWN_TIMEOUT="1h") as server:
        port = await server.port()
        api = f"http://127.0.0.1:{port}/api/v1/jobs"
        async with aiohttp.ClientSession() as http, anyio.create_task_group() as tasks:
            answers: list[int] = []

            async def cancel() -> None:
                async with http.post(f"{api}/{job_id}/cancel") as response:
                    answers.append(response.status)

            tasks.start_soon(cancel)
            await until(standing_still)
            server.send(signal.SIGTERM)
            await server.says("stopping")

            assert (await readiness(port))[0] == 503
            async with http.get(f"{api}/{job_id}") as refused:
                assert (refused.status, "Retry-After" in refused.headers) == (503, True)
                assert (await refused.json())["code"] == "unavailable"
            assert answers == []
            db.execute("insert into public.go default values")

        assert await server.ended() == 0
    assert answers == [200]
    assert job(db, job_id)["status"] == "cancelled"


async def test_a_request_that_does_not_end_holds_a_server_no_longer_than_its_shutdown_timeout(
    conninfo: str, db: Db, standing_still: Callable[[], bool]
) -> None:
    job_id = create(db)
    with aiserv("serve", DATABASE_URL=conninfo, HTTP_SHUTDOWN_TIMEOUT="200ms") as server:
        api = f"http://127.0.0.1:{await server.port()}/api/v1/jobs"
        async with aiohttp.ClientSession() as http, anyio.create_task_group() as tasks:

            async def cancel() -> None:
                # It may still be told that PostgreSQL cannot be used any more.
                with suppress(aiohttp.ClientError):
                    async with http.post(f"{api}/{job_id}/cancel") as response:
                        assert response.status == 503

            tasks.start_soon(cancel)
            await until(standing_still)
            server.send(signal.SIGTERM)

            # The statement of the request would end after a minute.
            assert await server.ended(SOON) == 0


async def test_a_worker_that_is_told_to_stop_finishes_its_job(conninfo: str, db: Db) -> None:
    async with fake_provider() as provider:
        may_answer = anyio.Event()
        provider.answers(after(may_answer, content("In time.")))
        with aiserv("worker", "llm", DATABASE_URL=conninfo, LLM_BASE_URL=provider.base_url) as worker:
            port = await worker.port()
            job_id = create(db, {"user": "Hello?"})
            await provider.called()

            worker.send(signal.SIGTERM)
            await worker.says("draining")
            assert (await readiness(port))[0] == 503
            late = create(db, {"user": "Too late?"})
            may_answer.set()

            assert await worker.ended() == 0
    assert job(db, job_id)["result"]["content"] == "In time."
    assert job(db, late)["attempt"] == 0


async def test_a_worker_gives_back_what_it_cannot_finish_in_time(conninfo: str, db: Db) -> None:
    async with fake_provider() as provider:
        provider.answers(hangs())
        variables = {"DATABASE_URL": conninfo, "LLM_BASE_URL": provider.base_url, "WORKER_SHUTDOWN_TIMEOUT": "100ms"}
        with aiserv("worker", "llm", **variables) as worker:
            await worker.port()
            job_id = create(db, {"user": "Hello?"})
            await provider.called()

            worker.send(signal.SIGTERM)

            assert await worker.ended() == 0
    released = job(db, job_id)
    assert (released["status"], released["failures"]) == ("pending", 0)


async def test_a_second_signal_ends_a_worker_at_once(conninfo: str, db: Db) -> None:
    async with fake_provider() as provider:
        provider.answers(hangs())
        variables = {"DATABASE_URL": conninfo, "LLM_BASE_URL": provider.base_url, "WORKER_SHUTDOWN_TIMEOUT": "1h"}
        with aiserv("worker", "llm", **variables) as worker:
            await worker.port()
            job_id = create(db, {"user": "Hello?"})
            await provider.called()
            worker.send(signal.SIGTERM)
            await worker.says("draining")

            worker.send(signal.SIGTERM)

            assert await worker.ended() == 128 + signal.SIGTERM
    # As after a crash: the end of its lease gives it to somebody else.
    left = job(db, job_id)
    assert (left["status"], left["failures"], left["lease_expires_at"] is None) == ("running", 0, False)


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        (["worker"], {"DATABASE_URL": "postgresql://127.0.0.1:9/x"}, "LLM_BASE_URL"),
        (["worker", "foo"], {}, "foo"),
        (["serve"], {}, "DATABASE_URL"),
        (["serve"], {"DATABASE_URL": "postgresql://127.0.0.1/x?colour=red"}, "DATABASE_URL"),
        (["migrate"], {}, "DATABASE_URL"),
        (["frobnicate"], {}, "frobnicate"),
    ],
)
async def test_wrong_usage_ends_with_2_and_a_message_that_names_it(
    arguments: list[str], variables: dict[str, str], named: str
) -> None:
    with aiserv(*arguments, **variables) as process:
        assert await process.ended() == 2

    assert named in process.text
    assert "Traceback" not in process.text


async def test_a_port_in_use_ends_with_1_and_says_so(conninfo: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with aiserv("serve", DATABASE_URL=conninfo, HTTP_PORT=str(port)) as process:
            assert await process.ended() == 1

    assert f"cannot listen on 127.0.0.1 port {port}" in process.text
    assert "Traceback" not in process.text


async def test_a_server_that_need_not_migrate_starts_without_postgresql_and_says_it_is_not_ready() -> None:
    unreachable = {"DATABASE_URL": "postgresql://127.0.0.1:9/x", "MIGRATE_ON_START": "false"}
    with aiserv("serve", **unreachable) as server:
        status, reason = await readiness(await server.port())

        server.send(signal.SIGTERM)
        assert await server.ended() == 0
    assert status == 503
    assert "PostgreSQL cannot be used" in reason


async def test_a_server_that_is_to_migrate_waits_for_postgresql() -> None:
    with aiserv("serve", DATABASE_URL="postgresql://127.0.0.1:9/x") as server:
        await server.says("waiting for PostgreSQL")

        server.send(signal.SIGTERM)
        assert await server.ended() != 0
    assert "Traceback" not in server.text


async def test_help_is_quick_because_it_imports_little() -> None:
    with aiserv("--help", PYTHONPROFILEIMPORTTIME="1") as process:
        assert await process.ended() == 0

    imported = {line.rpartition("|")[2].strip() for line in process.text.splitlines()}
    assert "typer" in imported
    assert imported.isdisjoint({"aiohttp", "anyio", "openai", "psycopg", "pydantic", "structlog"})
