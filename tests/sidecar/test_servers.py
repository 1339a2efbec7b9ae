"""vLLM and WhisperX servers through fakes of the pages that they have."""

import json
from typing import Any

import pytest

from aiserv.sidecar import servers
from aiserv.sidecar.vllm import Vllm
from aiserv.sidecar.whisperx import WhisperX
from tests.providers import Answer, body, drops, hangs, refuses
from tests.sidecar.pages import fake_server, http_client, nobody

pytestmark = pytest.mark.usefixtures("patient")

# As vLLM 0.32 writes it, shortened; two engines.
METRICS = """\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 12083.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="qwen2.5-14b"} 5.0
vllm:num_requests_running{engine="1",model_name="qwen2.5-14b"} 3.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="qwen2.5-14b"} 2.0
vllm:num_requests_waiting{engine="1",model_name="qwen2.5-14b"} 0.0
# HELP vllm:num_requests_waiting_by_reason Number of requests waiting, by reason.
# TYPE vllm:num_requests_waiting_by_reason gauge
vllm:num_requests_waiting_by_reason{engine="0",model_name="qwen2.5-14b",reason="capacity"} 2.0
# HELP vllm:kv_cache_usage_perc KV-cache usage. 1 means 100 percent usage.
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="qwen2.5-14b"} 0.4
vllm:kv_cache_usage_perc{engine="1",model_name="qwen2.5-14b"} 0.255
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="qwen2.5-14b"} 1000.0
vllm:generation_tokens_total{engine="1",model_name="qwen2.5-14b"} 500.0
# HELP vllm:generation_tokens_created Number of generation tokens processed.
# TYPE vllm:generation_tokens_created gauge
vllm:generation_tokens_created{engine="0",model_name="qwen2.5-14b"} 1.79e+09
"""
WELL = body("")
MEASURED: dict[str, Any] = {
    "up": True,
    "model": "qwen2.5-14b",
    "requests_running": 8,
    "requests_waiting": 2,
    "kv_cache_usage_percent": 32.8,
    "generation_tokens_per_second": None,
}
UNKNOWN: dict[str, Any] = {**dict.fromkeys(MEASURED), "up": False}


class Clock:
    """A clock that stands until it is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def generated(tokens: int) -> Answer:
    return body(f"# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total {tokens}\n")


async def test_vllm_is_the_sum_of_its_engines() -> None:
    async with fake_server({"/health": WELL, "/metrics": body(METRICS)}) as server, http_client() as http:
        row = await Vllm(http, server.url).sample()

    assert row == {"url": server.url, **MEASURED}


async def test_vllm_may_be_named_by_the_base_url_of_its_api() -> None:
    async with fake_server({"/health": WELL, "/metrics": body(METRICS)}) as server, http_client() as http:
        row = await Vllm(http, f"{server.url}/v1").sample()

    assert row == {"url": f"{server.url}/v1", **MEASURED}


async def test_the_rate_of_tokens_is_that_between_two_samples() -> None:
    clock = Clock()
    async with fake_server({"/health": WELL, "/metrics": generated(1000)}) as server, http_client() as http:
        vllm = Vllm(http, server.url, clock)
        await vllm.sample()
        server.pages["/metrics"] = generated(1625)
        clock.now += 5

        row = await vllm.sample()

    assert row["generation_tokens_per_second"] == 125


async def test_a_server_that_started_anew_has_no_rate_until_the_next_sample() -> None:
    clock = Clock()
    async with fake_server({"/health": WELL, "/metrics": generated(1000)}) as server, http_client() as http:
        vllm = Vllm(http, server.url, clock)
        rates = []
        for tokens in (1000, 50, 150):
            server.pages["/metrics"] = generated(tokens)
            rates.append((await vllm.sample())["generation_tokens_per_second"])
            clock.now += 5

    assert rates == [None, None, 20]


async def test_the_cache_of_the_first_engine_is_read_under_its_old_name() -> None:
    old = METRICS.replace("kv_cache_usage_perc", "gpu_cache_usage_perc")

    async with fake_server({"/health": WELL, "/metrics": body(old)}) as server, http_client() as http:
        row = await Vllm(http, server.url).sample()

    assert row["kv_cache_usage_percent"] == 32.8


async def test_an_engine_that_died_is_down_though_its_server_still_has_numbers() -> None:
    async with fake_server({"/health": refuses(503), "/metrics": body(METRICS)}) as server, http_client() as http:
        row = await Vllm(http, server.url).sample()

    assert row == {"url": server.url, **MEASURED, "up": False}


@pytest.mark.parametrize("page", [body("<html>{{{"), body("vllm:num_requests_running NaN\n"), refuses(404), drops()])
async def test_numbers_that_cannot_be_read_are_null(page: Answer) -> None:
    async with fake_server({"/health": WELL, "/metrics": page}) as server, http_client() as http:
        row = await Vllm(http, server.url).sample()

    assert row == {"url": server.url, **UNKNOWN, "up": True}


async def test_a_vllm_that_is_not_there_is_down() -> None:
    async with nobody() as url, http_client() as http:
        row = await Vllm(http, url).sample()

    assert row == {"url": url, **UNKNOWN}


async def test_a_whisperx_with_a_queue_shows_it() -> None:
    queue = body(json.dumps({"requests_queued": 3, "requests_in_flight": 1, "gpu_concurrency": 1}))

    async with fake_server({"/health": WELL, "/queue-metrics": queue}) as server, http_client() as http:
        row = await WhisperX(http, server.url).sample()

    assert row == {"url": server.url, "up": True, "in_flight": 1, "queued": 3}


async def test_a_whisperx_with_metrics_alone_shows_what_is_in_flight() -> None:
    metrics = body("# TYPE whisperx_active_transcriptions gauge\nwhisperx_active_transcriptions 2.0\n")

    async with fake_server({"/health": WELL, "/metrics": metrics}) as server, http_client() as http:
        row = await WhisperX(http, server.url).sample()

    assert row == {"url": server.url, "up": True, "in_flight": 2, "queued": None}


@pytest.mark.parametrize("queue", ["<html>", "[]", '{"requests_in_flight": true}', '{"requests_queued": "3"}'])
async def test_a_queue_that_is_not_understood_is_null(queue: str) -> None:
    async with fake_server({"/health": WELL, "/queue-metrics": body(queue)}) as server, http_client() as http:
        row = await WhisperX(http, server.url).sample()

    assert row == {"url": server.url, "up": True, "in_flight": None, "queued": None}


@pytest.mark.parametrize("path", ["", "/asr", "/v1", "/v1/audio/transcriptions", "/speech-to-text"])
async def test_a_whisperx_may_be_named_by_the_url_of_its_api(path: str) -> None:
    async with fake_server({"/health": refuses(503)}) as server, http_client() as http:
        row = await WhisperX(http, f"{server.url}{path}").sample()

    assert row["url"] == f"{server.url}{path}"
    assert row["up"] is False


async def test_a_whisperx_without_any_such_page_is_up_if_it_answers() -> None:
    async with fake_server({}) as server, http_client() as http:
        row = await WhisperX(http, server.url).sample()

    assert row == {"url": server.url, "up": True, "in_flight": None, "queued": None}


async def test_a_whisperx_that_is_deaf_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "SERVER_SECONDS", 0.05)
    pages = dict.fromkeys(("/health", "/queue-metrics", "/metrics"), hangs())

    async with fake_server(pages) as server, http_client() as http:
        row = await WhisperX(http, server.url).sample()

    assert row == {"url": server.url, "up": False, "in_flight": None, "queued": None}
