"""`aiserv dev`, as a person meets it."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import psycopg
import pytest

from aiserv.dev import _answer
from tests.processes import Process, aiserv
from tests.providers import body, fake_provider, refuses

UP = "Ctrl-C stops everything."


@contextmanager
def dev(data: Path, port: int, *arguments: str, **variables: str) -> Iterator[Process]:
    with aiserv(
        "dev", *arguments, cwd=str(data), HTTP_PORT=str(port), WORKER_HTTP_PORT="", LOG_FORMAT="console", **variables
    ) as process:
        yield process


@pytest.fixture(scope="module")
def port(unused_tcp_port_factory: Callable[[], int]) -> int:
    """Most tests share it, and the data: to make them takes seconds."""
    return unused_tcp_port_factory()


def completed(process: Process) -> int:
    with psycopg.connect(url_of(process)) as connection:
        return connection.execute("select from aiserv.jobs where status = 'completed'").rowcount


def url_of(process: Process) -> str:
    return process.text.partition("psql '")[2].partition("'")[0]


async def test_it_shows_a_completed_job_and_stops_at_ctrl_c(scratch: Path, port: int) -> None:
    with dev(scratch, port) as process:
        await process.says(UP)
        url = url_of(process)

        process.send_to_group(signal.SIGINT)

        assert await process.ended() == 0
    assert "STAND-IN" in process.text
    assert "completed at attempt 1" in process.text
    assert f"curl -s http://127.0.0.1:{port}/api/v1/jobs" in process.text
    assert "Traceback" not in process.text
    assert (scratch / ".aiserv" / f"port-{port}" / "cluster").is_dir()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


async def test_with_once_it_ends_after_the_first_job(scratch: Path, port: int) -> None:
    with dev(scratch, port, "--once") as process:
        assert await process.ended() == 0

    assert "completed at attempt 1" in process.text


async def test_with_a_file_of_tokens_it_makes_one_of_its_own_and_says_it(scratch: Path, port: int) -> None:
    tokens = scratch / "tokens.toml"
    tokens.write_text(f'[telephony]\nscope = "write"\nowner_service = "telephony"\nsha256 = "{"0" * 64}"\n')

    with dev(scratch, port, AI_SERVICE_TOKENS_FILE=str(tokens)) as process:
        token = await process.says("export AI_SERVICE_TOKEN=")
        await process.says(UP)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            statuses = [
                (await http.get("/api/v1/jobs", headers={"Authorization": f"Bearer {each}"})).status
                for each in (token, "another")
            ]

    assert statuses == [200, 401]
    assert "completed at attempt 1" in process.text
    assert '-H "Authorization: Bearer $AI_SERVICE_TOKEN"' in process.text


async def test_the_first_job_is_asked_for_again_while_postgresql_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiserv.dev.RETRY_SECONDS", 0.01)
    async with fake_provider() as server, aiohttp.ClientSession(server.url) as http:
        server.answers(refuses(503, "later"), refuses(503, "later"), body('{"id": "1"}', status=201))

        job = await _answer(http, "POST", "/api/v1/jobs", json={"idempotency_key": "k"})

    assert job == {"id": "1"}
    assert [asked.json for asked in server.requests] == [{"idempotency_key": "k"}] * 3


@pytest.mark.slow
async def test_ctrl_c_stops_it_while_its_first_job_waits_for_a_provider(scratch: Path, unused_tcp_port: int) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with dev(scratch, unused_tcp_port, LLM_BASE_URL=url) as process:
            await process.says("created over HTTP")
            process.send_to_group(signal.SIGINT)
            assert await process.ended() == 0

    assert "Traceback" not in process.text


@pytest.mark.slow
async def test_two_run_at_once_on_different_ports(scratch: Path, port: int, unused_tcp_port: int) -> None:
    with dev(scratch, port) as one, dev(scratch, unused_tcp_port) as other:
        for process in (one, other):
            await process.says(UP)

        for process in (one, other):
            process.send_to_group(signal.SIGINT)
            assert await process.ended() == 0


@pytest.mark.slow
async def test_it_starts_again_after_a_kill(scratch: Path, port: int) -> None:
    jobs = []
    for kill in (Process.send, Process.send_to_group, Process.send_to_group):
        with dev(scratch, port) as process:
            await process.says(UP)
            jobs.append(completed(process))
            kill(process, signal.SIGKILL)
            await process.ended()

    assert jobs == [jobs[0], jobs[0] + 1, jobs[0] + 2]


async def test_a_port_in_use_is_named(scratch: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with dev(scratch, port) as process:
            assert await process.ended() == 1

    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in process.text
    assert "Traceback" not in process.text
