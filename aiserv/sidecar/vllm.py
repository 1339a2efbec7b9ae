"""A vLLM server as its own metrics show it."""

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

import aiohttp

from aiserv.http_get import Got, server_root
from aiserv.sidecar.sampler import Row
from aiserv.sidecar.servers import ask, samples

# https://docs.vllm.ai/en/latest/usage/metrics.html; vLLM's first engine called the cache gpu_cache.
RUNNING: Final = "vllm:num_requests_running"
WAITING: Final = "vllm:num_requests_waiting"
KV_CACHE: Final = "vllm:kv_cache_usage_perc"
KV_CACHE_BEFORE: Final = "vllm:gpu_cache_usage_perc"
GENERATED: Final = "vllm:generation_tokens_total"
METRICS: Final = {RUNNING, WAITING, KV_CACHE, KV_CACHE_BEFORE, GENERATED}


class Vllm:
    """Samples one server; its rate of tokens is that between two samples."""

    def __init__(self, http: aiohttp.ClientSession, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._url = url
        self._clock = clock
        self._before: tuple[float, float] | None = None  # tokens, and when

    async def sample(self) -> Row:
        """The row: `url`, `up`, `model` and the numbers of the contract.

        `up` is what the server itself says of its engine. A number that is not known is None.
        """
        health, metrics = await ask(self._http, server_root(self._url), ("/health", "/metrics"))
        values, model = _values(metrics)
        usage = values.get(KV_CACHE) or values.get(KV_CACHE_BEFORE)
        return {
            "url": self._url,
            "up": health is not None and health.status == HTTPStatus.OK,
            "model": model,
            "requests_running": _count(values.get(RUNNING)),
            "requests_waiting": _count(values.get(WAITING)),
            # A fraction of each engine: their mean is the server's.
            "kv_cache_usage_percent": round(100 * sum(usage) / len(usage), 1) if usage else None,
            "generation_tokens_per_second": self._rate(values.get(GENERATED)),
        }

    def _rate(self, engines: Sequence[float] | None) -> float | None:
        before, self._before = self._before, None
        if not engines:
            return None
        tokens, now = self._before = sum(engines), self._clock()
        # A counter that went back is that of a server that started anew.
        if before is None or tokens < before[0] or now <= before[1]:
            return None
        return round((tokens - before[0]) / (now - before[1]), 1)


def _values(answer: Got | None) -> tuple[dict[str, list[float]], str | None]:
    """The values of each metric, one for each engine, and the name of the model."""
    values: dict[str, list[float]] = {}
    model = None
    for sample in samples(answer):
        if sample.name in METRICS:
            values.setdefault(sample.name, []).append(sample.value)
            model = model or sample.labels.get("model_name")
    return values, model


def _count(engines: Sequence[float] | None) -> int | None:
    return round(sum(engines)) if engines else None
