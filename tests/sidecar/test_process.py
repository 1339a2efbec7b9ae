"""The sidecar's process: its settings, what it samples, and how it stops."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest
from aiohttp import web

from aiserv.settings import Settings, SettingsError, SidecarSettings
from aiserv.sidecar.process import watch
from tests.providers import Answer, body, hangs
from tests.sidecar.pages import fake_server, nobody
from tests.sidecar.test_servers import METRICS
from tests.waiting import SOON

pytestmark = pytest.mark.usefixtures("patient")

TOKEN = {"Authorization": "Bearer right"}


@asynccontextmanager
async def watching(**settings: object) -> AsyncIterator[tuple[str, anyio.Event]]:
    """A sidecar on a port of its own: its URL, and the event that stops it."""
    stop = anyio.Event()
    given = SidecarSettings.model_validate({"http_host": "127.0.0.1", "http_port": 0, "token": "right", **settings})
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(watch, given, stop)
        yield f"http://127.0.0.1:{port}", stop
        stop.set()


async def status_of(url: str) -> dict[str, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/status", headers=TOKEN) as response:
        said: dict[str, Any] = await response.json()
        return said


async def test_a_process_shows_its_servers_and_containers(tmp_path: Path) -> None:
    containers = body(json.dumps([{"Names": ["/vllm"], "Image": "vllm", "State": "running", "Status": "Up 1 hour"}]))
    async with (
        fake_server({"/health": body(""), "/metrics": body(METRICS)}) as vllm,
        fake_server({"/health": body("{}")}) as whisperx,
        nobody() as gone,
        fake_server({"/containers/json": containers}, unix=tmp_path / "docker"),
        watching(vllm_urls=vllm.url, whisperx_urls=f"{gone},{whisperx.url}", docker_socket=tmp_path / "docker") as (
            url,
            _stop,
        ),
    ):
        status = await status_of(url)

    assert [row["requests_running"] for row in status["vllm"]] == [8]
    assert [(row["url"], row["up"]) for row in status["whisperx"]] == [(gone, False), (whisperx.url, True)]
    assert status["containers"] == [{"name": "vllm", "image": "vllm", "state": "running", "health": None}]


async def test_a_process_samples_again_and_again(tmp_path: Path) -> None:
    third = anyio.Event()
    asked: list[str] = []

    async def reply(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if asked.count("/metrics") == 3:
            third.set()
        return web.Response(text=METRICS)

    async with (
        fake_server({"/metrics": Answer(reply)}) as vllm,
        watching(vllm_urls=vllm.url, docker_socket=tmp_path / "docker", sample_interval="100ms"),
    ):
        with anyio.fail_after(SOON):
            await third.wait()


async def test_a_process_that_stops_does_not_wait_for_a_source_that_hangs(tmp_path: Path) -> None:
    asked = anyio.Event()

    async def reply(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await hangs().reply(request)

    async def wait_for_status(url: str) -> None:
        # With the first sample there will be one, or the end of the process.
        with suppress(aiohttp.ClientError):
            await status_of(url)

    async with fake_server({"/health": Answer(reply)}) as vllm, anyio.create_task_group() as clients:
        with anyio.fail_after(SOON):
            async with watching(vllm_urls=vllm.url, docker_socket=tmp_path / "docker") as (url, stop):
                clients.start_soon(wait_for_status, url)
                await asked.wait()
                stop.set()


async def test_a_process_without_a_token_does_not_start() -> None:
    with pytest.raises(SettingsError, match="SIDECAR_TOKEN"):
        await watch(SidecarSettings(), anyio.Event())


def test_the_settings_are_read_from_the_environment() -> None:
    settings = Settings.load(
        {
            "SIDECAR_HTTP_HOST": "127.0.0.1",
            "SIDECAR_HTTP_PORT": "9090",
            "SIDECAR_TOKEN": "one, two",
            "SIDECAR_VLLM_URLS": "http://vllm:8000/, http://qwen-audio:8003",
            "SIDECAR_WHISPERX_URLS": "http://whisperx-1:9000",
            "SIDECAR_DOCKER_SOCKET": "/run/docker.sock",
            "SIDECAR_SAMPLE_INTERVAL": "10s",
        }
    ).sidecar

    assert settings.tokens == ["one", "two"]
    assert settings.model_dump(exclude={"token"}) == {
        "http_host": "127.0.0.1",
        "http_port": 9090,
        "vllm_urls": ("http://vllm:8000", "http://qwen-audio:8003"),
        "whisperx_urls": ("http://whisperx-1:9000",),
        "docker_socket": Path("/run/docker.sock"),
        "sample_interval": timedelta(seconds=10),
    }


def test_the_settings_have_defaults() -> None:
    settings = Settings.load({}).sidecar

    assert settings.http_port == 8090
    assert settings.docker_socket == Path("/var/run/docker.sock")
    assert settings.sample_interval == timedelta(seconds=5)


def test_a_bad_setting_is_named() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.load({"SIDECAR_VLLM_URLS": "http://user:hunter2@vllm", "SIDECAR_SAMPLE_INTERVAL": "1ms"})

    assert str(raised.value).splitlines() == [
        "SIDECAR_VLLM_URLS: must be an http or https URL without user, password, query and fragment",
        "SIDECAR_SAMPLE_INTERVAL: must be a duration from 100ms to 1h",
    ]
