"""`aiserv dev`: everything in one go, and a job that travels the whole way before your eyes."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

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
FINISHED: Final = ("completed", "failed", "cancelled")


async def run_dev(settings: Settings, data: Path, stop: anyio.Event, *, once: bool = False) -> None:
    """PostgreSQL, server and worker until `stop` is set; with `once`, until the first job is finished.

    Each port of the API has data of its own, so that two can run at once.
    """
    directory = data / f"port-{settings.server.http_port}"
    async with AsyncExitStack() as stack:
        say("postgres", f"starting, data in {directory}")
        url = stack.enter_context(embedded_postgres(directory))
        files = migrate(url)
        say("schema", f"installed, {len(files)} files" if files else "up to date")
        settings = await _for_dev(settings, url, stack)
        async with anyio.create_task_group() as tasks:
            port = await tasks.start(serve, settings, stop)
            say("server", f"listening on port {port}")
            worker_port = await tasks.start(work, settings, stop)
            say("worker", f"waiting for chat jobs of {settings.llm.model}, status on port {worker_port}")
            job = await _first_job(settings, url, port)
            if once:
                stop.set()
            else:
                _show_what_to_try(settings, url, port, worker_port, job)
            await stop.wait()
            say("stopping", "requests and jobs in flight may finish; Ctrl-C again stops at once")
    say("stopped", "the data stay")


def say(what: str, text: str) -> None:
    """A line for the person at the terminal."""
    print(f"{what:>10}  {text}", flush=True)  # noqa: T201 - this command talks


async def _for_dev(settings: Settings, url: str, stack: AsyncExitStack) -> Settings:
    """The settings with our database, a provider that stands in if there is none, and only this machine let in."""
    database = settings.database.model_copy(update={"configured_url": url, "configured_listen_url": None})
    server, worker, llm = settings.server, settings.worker, settings.llm
    if "http_host" not in server.model_fields_set:
        server = server.model_copy(update={"http_host": "127.0.0.1"})
    if "http_host" not in worker.model_fields_set:
        worker = worker.model_copy(update={"http_host": "127.0.0.1"})
    if llm.base_url is None:
        base_url = await stack.enter_async_context(stand_in_provider(llm.model))
        llm = llm.model_copy(update={"base_url": base_url})
        say("provider", f"a STAND-IN at {base_url}: it speaks the protocol, but no model answers. Set LLM_BASE_URL for one.")
    else:
        say("provider", f"{llm.model} at {llm.base_url}")
    return settings.model_copy(update={"database": database, "server": server, "worker": worker, "llm": llm})


async def _first_job(settings: Settings, url: str, port: int) -> dict[str, Any]:
    """A chat job, submitted over HTTP and waited for; shows what it went through."""
    finished = Wake()
    listener = Listener(url, {"aiserv_finished": finished}, on_connect=finished)
    new = {
        "owner_service": "aiserv-dev",
        "owner_ref": "first-job",
        "task_type": "llm_chat",
        "model_profile": settings.llm.model,
        "input": {"user": "Say hello to someone who has just started aiserv."},
    }
    headers = {"Authorization": f"Bearer {token}"} if (token := _token(settings)) else {}
    async with aiohttp.ClientSession(f"http://{_host(settings)}:{port}", headers=headers) as http:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.run)
            async with http.post("/api/v1/jobs", json=new) as response:
                job: dict[str, Any] = await response.json()
            say("job", f"{job['id']} created over HTTP, {job['status']}")
            with anyio.move_on_after(FIRST_JOB_SECONDS):
                while job["status"] not in FINISHED:
                    woken = finished.next
                    async with http.get(f"/api/v1/jobs/{job['id']}") as response:
                        job = await response.json()
                    if job["status"] not in FINISHED:
                        await woken.wait()
            tasks.cancel_scope.cancel()
    shown = job["result"] if job["status"] == "completed" else {"error_category": job["error_category"], "error_message": job["error_message"]}
    say("job", f"{job['status']} at attempt {job['attempt']} by {job['worker_id']}:\n{json.dumps(shown, indent=2, ensure_ascii=False)}")
    return job


def _show_what_to_try(settings: Settings, url: str, port: int, worker_port: int, job: dict[str, Any]) -> None:
    api = f"http://{_host(settings)}:{port}"
    auth = ' -H "Authorization: Bearer $AI_SERVICE_TOKEN"' if _token(settings) else ""
    body = json.dumps({name: job[name] for name in ("owner_service", "task_type", "model_profile")} | {"input": {"user": "Hello"}})
    say("api", f"{api}/api/v1/jobs   probes: {api}/healthz {api}/readyz {api}/metrics")
    say("status", f"http://{_host(settings)}:{worker_port}/worker/status")
    say("try", f"curl -s {api}/api/v1/jobs{auth} -H 'Content-Type: application/json' -d '{body}'")
    say("", f"curl -s '{api}/api/v1/jobs?limit=1'{auth}")
    say("", f"psql '{url}' -c 'select id, status, result from aiserv.jobs'")
    say("", "Ctrl-C stops everything.")


def _host(settings: Settings) -> str:
    return "127.0.0.1" if settings.server.http_host in {"0.0.0.0", "::"} else settings.server.http_host  # noqa: S104


def _token(settings: Settings) -> str | None:
    tokens: tuple[SecretStr, ...] = settings.server.ai_service_token
    return tokens[0].get_secret_value() if tokens else None
