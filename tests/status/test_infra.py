"""The status of the AI server, asked of fake sidecars and of our own."""

import json
from typing import Any

import anyio
import pytest

from aiserv import infra
from aiserv.infra import InfraStatus
from aiserv.settings import Settings, SidecarSettings
from aiserv.shared import Shared
from aiserv.sidecar.process import watch
from tests.providers import Answer, body, drops, hangs, refuses
from tests.sidecar.pages import fake_server, http_client, nobody
from tests.waiting import SOON

pytestmark = pytest.mark.usefixtures("patient")

GPU = {
    "index": 0,
    "name": "NVIDIA H200",
    "utilization_percent": 87,
    "memory_used_mib": 100_000,
    "memory_total_mib": 143_771,
    "temperature_c": 61,
    "power_w": 512.3,
}
CONTAINER = {"name": "vllm", "image": "vllm/vllm-openai", "state": "running", "health": "healthy"}
VLLM = {
    "url": "http://vllm:8000",
    "up": True,
    "model": "qwen2.5-14b",
    "requests_running": 8,
    "requests_waiting": 2,
    "kv_cache_usage_percent": 32.8,
    "generation_tokens_per_second": 125.0,
}
WHISPERX = {"url": "http://whisperx-1:9000", "up": True, "in_flight": 1, "queued": None}
PARTS: dict[str, Any] = {"gpus": [GPU], "containers": [CONTAINER], "vllm": [VLLM], "whisperx": [WHISPERX]}
NOTHING: dict[str, Any] = {part: [] for part in PARTS}


def page(**members: object) -> Answer:
    return body(json.dumps({**PARTS, "sampled_at": "2026-11-21T12:00:00.000000Z", "errors": {}, **members}))


async def status_of(url: str | None, token: str | None = "right") -> dict[str, Any]:
    variables = {"INFRA_STATUS_URL": url or "", "INFRA_STATUS_TOKEN": token or ""}
    async with http_client() as http:
        return await InfraStatus(Settings.load({}, **variables).infrastructure, http).status()


async def test_without_a_url_nothing_is_configured() -> None:
    assert await status_of(None) == {"configured": False}


async def test_what_the_sidecar_shows_is_shown() -> None:
    async with fake_server({"/status": page()}) as sidecar:
        status = await status_of(sidecar.url)

    assert status.pop("fetched_at").endswith("Z")
    assert status == {"configured": True, "available": True, "error": None, **PARTS}


async def test_the_sidecar_is_asked_with_our_token() -> None:
    async with fake_server({"/status": page()}) as sidecar:
        await status_of(sidecar.url)

    assert sidecar.asked == ["/status"]
    assert sidecar.headers[0]["Authorization"] == "Bearer right"


async def test_a_url_with_a_path_is_taken_as_it_is() -> None:
    async with fake_server({"/gpu-1/status": page()}) as sidecar:
        status = await status_of(f"{sidecar.url}/gpu-1/status")

    assert status["available"] is True


async def test_keys_that_nobody_promised_are_dropped_and_those_that_lack_are_null() -> None:
    odd = {"state": "running", "env": ["TOKEN=hunter2"], "name": {"deep": "hunter2"}}

    async with fake_server({"/status": page(containers=[odd, "hunter2"], hosts=["hunter2"], gpus=None)}) as sidecar:
        status = await status_of(sidecar.url)

    assert status["containers"] == [{"name": None, "image": None, "state": "running", "health": None}]
    assert status["gpus"] == []
    assert "hunter2" not in str(status)


async def test_numbers_that_json_does_not_know_are_null() -> None:
    async with fake_server({"/status": page(gpus=[{**GPU, "power_w": float("nan")}])}) as sidecar:
        status = await status_of(sidecar.url)

    assert status["gpus"] == [{**GPU, "power_w": None}]


async def test_a_source_that_the_sidecar_cannot_read_is_named() -> None:
    errors = {"gpus": None, "containers": "Docker's socket: permission denied", "secrets": "hunter2"}

    async with fake_server({"/status": page(containers=[], errors=errors)}) as sidecar:
        status = await status_of(sidecar.url)

    assert status["available"] is True
    assert status["error"] == "containers: Docker's socket: permission denied"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refuses(401), "the sidecar refuses INFRA_STATUS_TOKEN (401)"),
        (refuses(503, "hunter2"), "the sidecar answered 503 without a status"),
        (refuses(302, headers={"Location": "http://other"}), "the sidecar answered 302 without a status"),
        (body("<html>"), "the sidecar answered 200 without a status"),
        (body("[]"), "the sidecar answered 200 without a status"),
        (drops(), "the sidecar: the connection broke off"),
        (drops(after=b"{"), "the sidecar: the connection broke off"),
        (body(b" " * 5_000_000), "the sidecar: the answer is larger than 4 MiB"),
    ],
)
async def test_a_sidecar_that_gives_no_status_is_not_available(answer: Answer, error: str) -> None:
    async with fake_server({"/status": answer}) as sidecar:
        status = await status_of(sidecar.url)

    assert status.pop("fetched_at").endswith("Z")
    assert status == {"configured": True, "available": False, "error": error, **NOTHING}


async def test_a_sidecar_that_is_not_there_is_not_available() -> None:
    async with nobody() as url:
        status = await status_of(url)

    assert status["available"] is False
    assert status["error"] == "the sidecar: connection refused"


async def test_a_sidecar_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infra, "TIMEOUT_SECONDS", 0.05)
    async with fake_server({"/status": hangs()}) as sidecar:
        with anyio.fail_after(SOON):
            status = await status_of(sidecar.url)

    assert status["available"] is False
    assert status["error"] == "the sidecar: no answer within 0.05 s"


async def test_many_who_ask_at_once_share_one_answer() -> None:
    async with fake_server({"/status": page()}) as sidecar, http_client() as http:
        status = InfraStatus(Settings.load({}, INFRA_STATUS_URL=sidecar.url).infrastructure, http)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(status.status)

    assert sidecar.asked == ["/status"]


async def test_our_own_sidecar_is_understood() -> None:
    stop = anyio.Event()
    settings = SidecarSettings.model_validate(
        {"http_host": "127.0.0.1", "http_port": 0, "token": "right", "vllm_urls": "http://127.0.0.1:1"}
    )
    async with anyio.create_task_group() as tasks:
        port = await tasks.start(watch, settings, stop)
        status = await status_of(f"http://127.0.0.1:{port}")
        refused = await status_of(f"http://127.0.0.1:{port}", token="wrong")
        stop.set()

    assert status["available"] is True
    assert status["vllm"] == [{**dict.fromkeys(VLLM), "url": "http://127.0.0.1:1", "up": False}]
    assert refused["error"] == "the sidecar refuses INFRA_STATUS_TOKEN (401)"


async def test_a_shared_value_is_got_again_when_its_time_is_over() -> None:
    now, got = [0.0], iter(range(10))

    async def get() -> int:
        return next(got)

    shared = Shared(get, 5, lambda: now[0])
    values = []
    for now[0] in (0.0, 4.9, 5.0, 9.9):
        values.append(await shared())

    assert values == [0, 0, 1, 1]


async def test_who_leaves_takes_a_shared_value_from_nobody() -> None:
    began = anyio.Event()
    calls = 0

    async def get() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            began.set()
            await anyio.sleep_forever()
        return "value"

    shared = Shared(get, 5)
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shared)
            await began.wait()
            tasks.cancel_scope.cancel()

        value = await shared()

    assert value == "value"
