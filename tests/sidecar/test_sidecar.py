"""The sidecar as a whole: its port, its token, and sources that fail alone."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from aiserv.sidecar import sampler as sampling
from aiserv.sidecar.app import sidecar_application
from aiserv.sidecar.metrics import GAUGES
from aiserv.sidecar.sampler import Row, Sample, Sampler, SourceError
from aiserv.tokens import Tokens
from tests.waiting import SOON

GPU: Row = {
    "index": 0,
    "name": "NVIDIA H200",
    "utilization_percent": 87,
    "memory_used_mib": 100_000,
    "memory_total_mib": 143_771,
    "temperature_c": None,
    "power_w": 512.3,
}
CONTAINER: Row = {"name": "vllm", "image": "vllm/vllm-openai", "state": "running", "health": None}
VLLM: Row = {
    "url": "http://vllm:8000",
    "up": True,
    "model": "qwen2.5-14b",
    "requests_running": 8,
    "requests_waiting": 2,
    "kv_cache_usage_percent": 32.8,
    "generation_tokens_per_second": 125.0,
}
WHISPERX: Row = {"url": "http://whisperx-1:9000", "up": False, "in_flight": None, "queued": None}
ROWS = {"gpus": [GPU], "containers": [CONTAINER], "vllm": [VLLM], "whisperx": [WHISPERX]}
TOKEN = {"Authorization": "Bearer right"}


def gives(rows: list[Row]) -> Sample:
    async def sample() -> list[Row]:
        return rows

    return sample


def sampler(**sources: Sample) -> Sampler:
    """A sampler whose sources all give a row, but for those named."""
    return Sampler({name: gives(rows) for name, rows in ROWS.items()} | sources, timedelta(hours=1))


async def refuses() -> list[Row]:
    raise SourceError("Docker's socket: permission denied")


async def breaks() -> list[Row]:
    raise ZeroDivisionError("hunter2")


@asynccontextmanager
async def client_of(sampler: Sampler) -> AsyncIterator[TestClient[Any, Any]]:
    async with TestClient(TestServer(sidecar_application(sampler, Tokens(["other", "right"])))) as client:
        yield client


async def test_the_status_has_the_rows_of_every_source() -> None:
    sampled = sampler()
    await sampled.sample()

    async with client_of(sampled) as client, client.get("/status", headers=TOKEN) as response:
        said = await response.json()

    assert response.status == 200
    assert said.pop("sampled_at").endswith("Z")
    assert said == {"errors": dict.fromkeys(ROWS), **ROWS}


@pytest.mark.parametrize("sent", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}])
async def test_without_a_token_nothing_is_shown(sent: dict[str, str]) -> None:
    sampled = sampler()
    await sampled.sample()

    async with client_of(sampled) as client, client.get("/status", headers=sent) as response:
        problem = await response.json()

    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert problem["code"] == "unauthorized"


async def test_each_of_several_tokens_is_good() -> None:
    sampled = sampler()
    await sampled.sample()

    async with client_of(sampled) as client:
        statuses = []
        for token in ("right", "other"):
            async with client.get("/status", headers={"Authorization": f"bearer {token}"}) as response:
                statuses.append(response.status)

    assert statuses == [200, 200]


async def test_health_and_metrics_need_no_token() -> None:
    sampled = sampler()
    await sampled.sample()

    async with client_of(sampled) as client:
        statuses = []
        for path in ("/healthz", "/readyz", "/metrics"):
            async with client.get(path) as response:
                statuses.append(response.status)

    assert statuses == [200, 200, 200]


async def test_it_is_not_ready_before_the_first_sample() -> None:
    async with client_of(sampler()) as client, client.get("/readyz") as response:
        said = await response.json()

    assert response.status == 503
    assert said["detail"] == "nothing was sampled yet"


@pytest.mark.parametrize("source", ROWS)
async def test_a_source_that_fails_costs_the_others_nothing(source: str) -> None:
    sampled = sampler(**{source: refuses})

    await sampled.sample()

    status = sampled.status()
    assert status["errors"] == {**dict.fromkeys(ROWS), source: "Docker's socket: permission denied"}
    assert {name: status[name] for name in ROWS} == {**ROWS, source: []}


async def test_a_source_that_hangs_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs() -> list[Row]:
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(sampling, "SOURCE_SECONDS", 0.05)
    sampled = sampler(gpus=hangs)

    with anyio.fail_after(SOON):
        await sampled.sample()

    assert sampled.errors["gpus"] == "no answer within 0.05 s"
    assert sampled.rows == {**ROWS, "gpus": []}


async def test_a_bug_in_a_source_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    sampled = sampler(vllm=breaks)

    await sampled.sample()

    assert sampled.errors["vllm"] == "an error of ours; the log has it"
    assert "ZeroDivisionError" in caplog.text


async def test_a_source_that_stays_away_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    sampled = sampler(containers=refuses)

    with caplog.at_level(logging.INFO):
        await sampled.sample()
        await sampled.sample()

    assert [record.getMessage() for record in caplog.records] == [
        "the source containers cannot be read: Docker's socket: permission denied"
    ]


async def test_the_metrics_are_the_numbers_of_the_status() -> None:
    sampled = sampler()
    await sampled.sample()

    async with client_of(sampled) as client, client.get("/metrics") as response:
        text = await response.text()

    shown = {
        sample.name: sample.value
        for metric in text_string_to_metric_families(text)
        for sample in metric.samples
        if sample.name != "aiserv_sidecar_source_readable"
    }
    status = sampled.status()
    numbers = {
        metric: 1 if key is None else status[source][0][key]
        for source, gauges in GAUGES.items()
        for metric, key, _text in gauges
    }
    assert shown == {metric: value for metric, value in numbers.items() if value is not None}
    assert "aiserv_gpu_temperature_celsius" not in shown


async def test_every_number_of_the_status_is_a_metric() -> None:
    words = {"index", "name", "image", "state", "health", "url", "model"}

    for source, (row,) in ROWS.items():
        assert row.keys() - words == {key for _metric, key, _text in GAUGES[source]} - {None}


async def test_the_metrics_say_which_source_cannot_be_read() -> None:
    sampled = sampler(gpus=refuses)
    await sampled.sample()

    async with client_of(sampled) as client, client.get("/metrics") as response:
        text = await response.text()

    assert 'aiserv_sidecar_source_readable{source="gpus"} 0.0' in text
    assert 'aiserv_sidecar_source_readable{source="vllm"} 1.0' in text
