"""`aiserv dev`: everything in one go, and a job that travels the whole way before your eyes."""

import json
import secrets
import shlex
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import aiohttp
import anyio
from pydantic import SecretStr

from aiserv.api.process import serve
from aiserv.embedded import embedded_postgres
from aiserv.listener import Listener
from aiserv.migrate import migrate
from aiserv.settings import Settings
from aiserv.stand_in import stand_in_provider
from aiserv.wake import Wake
from workers.process import work

# A real model may take its time over its first job; then the rest is shown without it.
FIRST_JOB_SECONDS: Final = 60
RETRY_SECONDS: Final = 1.0
FINISHED: Final = ("completed", "failed", "cancelled")


class FirstJobError(Exception):
    """The first job was not completed, and nothing else was asked for; the message says what became of it."""


async def run_dev(settings: Settings, data: Path, stop: anyio.Event, *, once: bool = False) -> None:
    """PostgreSQL, server and worker until `stop` is set; with `once`, until the first job is finished.

    Each port of the API has data of its own, so that two can run at once. Raises FirstJobError with `once`.
    """
    directory = data / f"port-{settings.server.http_port}"
    async with AsyncExitStack() as stack:
        say("postgres", f"starting, data in {directory}")
        # In a thread, so that Ctrl-C is heard meanwhile.
        url = await anyio.to_thread.run_sync(stack.enter_context, embedded_postgres(directory))
        files = await anyio.to_thread.run_sync(migrate, url)
        say("schema", f"installed, {len(files)} files" if files else "up to date")
        settings = await _for_dev(settings, url, stack)
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(serve, settings, stop)
            say("server", f"listening on port {port}")
            worker_port = await tasks.start(work, settings, stop)
            say("worker", f"waiting for chat jobs of {settings.llm.model}, status on port {worker_port}")
            job = await _first_job(settings, url, port, stop)
            if once:
                stop.set()
            elif not stop.is_set():
                _show_what_to_try(settings, url, port, worker_port)
            await stop.wait()
            say("stopping", "requests and jobs in flight may finish; Ctrl-C again stops at once")
    say("stopped", "the data stay")
    if once and job.get("status") != "completed":
        raise FirstJobError(f"the first job is {job.get('status', 'not there')}: {job.get('error_message')}")


def say(what: str, text: str) -> None:
    """A line for the person at the terminal."""
    print(f"{what:>10}  {text}", flush=True)  # noqa: T201 - this command talks


async def _for_dev(settings: Settings, url: str, stack: AsyncExitStack) -> Settings:
    """The settings with our database, a provider that stands in if there is none, and only this machine let in."""
    database = settings.database.model_copy(update={"configured_url": url, "configured_listen_url": None})
    server, worker, llm = settings.server, settings.worker, settings.llm
    if "http_host" not in server.model_fields_set:
        server = server.model_copy(update={"http_host": "127.0.0.1"})
    if server.ai_service_tokens_file and not server.ai_service_token:
        # The file has digests only, and the first job needs a token.
        token = secrets.token_urlsafe()
        server = server.model_copy(update={"ai_service_token": (SecretStr(token),)})
        say("token", f"for this run, beside those of AI_SERVICE_TOKENS_FILE: export AI_SERVICE_TOKEN={token}")
    if "http_host" not in worker.model_fields_set:
        worker = worker.model_copy(update={"http_host": "127.0.0.1"})
    if "http_port" not in worker.model_fields_set and "http_port" in server.model_fields_set:
        # Whoever chooses a port has another one running, or something else: any free port will do for the status.
        worker = worker.model_copy(update={"http_port": 0})
    if llm.base_url is None:
        base_url = await stack.enter_async_context(stand_in_provider(llm.model))
        llm = llm.model_copy(update={"base_url": base_url})
        say("provider", f"a STAND-IN at {base_url}: it speaks the protocol, but is no model. Set LLM_BASE_URL for one.")
    else:
        say("provider", f"{llm.model} at {llm.base_url}")
    return settings.model_copy(update={"database": database, "server": server, "worker": worker, "llm": llm})


async def _first_job(settings: Settings, url: str, port: int, stop: anyio.Event) -> dict[str, Any]:
    """A chat job, submitted over HTTP and waited for, unless `stop` is set; shows what it went through."""
    job: dict[str, Any] = {}
    finished = Wake()
    listener = Listener(url, {"aiserv_finished": finished}, name="aiserv dev listener", on_connect=finished)
    headers = {"Authorization": f"Bearer {token}"} if (token := _token(settings)) else {}
    api = _address(settings.server.http_host, port)
    with anyio.move_on_after(FIRST_JOB_SECONDS) as patience:
        async with (
            aiohttp.ClientSession(api, headers=headers) as http,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(listener.run)
            tasks.start_soon(_cancel_when_stopped, stop, patience)
            new = {**_new_job(settings), "idempotency_key": str(uuid4())}
            job = await _answer(http, "POST", "/api/v1/jobs", json=new)
            say("job", f"{job['id']} created over HTTP, {job['status']}")
            while job["status"] not in FINISHED:
                woken = finished.next
                job = await _answer(http, "GET", f"/api/v1/jobs/{job['id']}")
                if job["status"] not in FINISHED:
                    await woken.wait()
            tasks.cancel_scope.cancel()
    if job and not stop.is_set():
        _show(job)
    return job


async def _answer(http: aiohttp.ClientSession, method: str, path: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - aiohttp's own
    """What the server answers, asked again while it says that PostgreSQL is late: the machine may stand still."""
    while True:
        async with http.request(method, path, **body) as response:
            if response.status != HTTPStatus.SERVICE_UNAVAILABLE:
                response.raise_for_status()
                answer: dict[str, Any] = await response.json()
                return answer
        await anyio.sleep(RETRY_SECONDS)


def _new_job(settings: Settings) -> dict[str, Any]:
    return {
        "owner_service": "aiserv-dev",
        "owner_ref": "first-job",
        "task_type": "llm_chat",
        "model_profile": settings.llm.model,
        "input": {"user": "Say hello to someone who has just started aiserv."},
    }


async def _cancel_when_stopped(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


def _show(job: dict[str, Any]) -> None:
    completed = job["status"] == "completed"
    shown = job["result"] if completed else {name: job[name] for name in ("error_category", "error_message")}
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    say("job", f"{job['status']} at attempt {job['attempt']} by {job['worker_id']}:\n{text}")


def _show_what_to_try(settings: Settings, url: str, port: int, worker_port: int) -> None:
    api = _address(settings.server.http_host, port)
    auth = ' -H "Authorization: Bearer $AI_SERVICE_TOKEN"' if _token(settings) else ""
    body = json.dumps({**_new_job(settings), "owner_service": "me", "owner_ref": "", "input": {"user": "Hello"}})
    say("api", f"{api}/api/v1/jobs   probes: {api}/healthz {api}/readyz {api}/metrics")
    say("status", f"{_address(settings.worker.http_host, worker_port)}/worker/status")
    say("try", f"curl -s {api}/api/v1/jobs{auth} -H 'Content-Type: application/json' -d {shlex.quote(body)}")
    say("", f"curl -s '{api}/api/v1/jobs?limit=1'{auth}")
    say("", f"psql '{url}' -x -c 'table aiserv.jobs'")
    say("", "Ctrl-C stops everything.")


def _address(host: str, port: int) -> str:
    """Where to reach, from this machine, what listens there."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not to listen on
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _token(settings: Settings) -> str | None:
    tokens = settings.server.ai_service_token
    return tokens[0].get_secret_value() if tokens else None
