"""The last sample as Prometheus metrics: the numbers of `GET /status`, none of its own."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aiserv.sidecar.sampler import Row, Sampler

# For each source: the metric, the key in its rows, what it is. Labels of a row are in LABELS.
GAUGES: Final = {
    "gpus": (
        ("aiserv_gpu_utilization_percent", "utilization_percent", "How much of the time the GPU computed."),
        ("aiserv_gpu_memory_used_mib", "memory_used_mib", "Memory of the GPU in use."),
        ("aiserv_gpu_memory_total_mib", "memory_total_mib", "Memory of the GPU."),
        ("aiserv_gpu_temperature_celsius", "temperature_c", "Temperature of the GPU."),
        ("aiserv_gpu_power_watts", "power_w", "What the GPU draws."),
    ),
    "containers": (("aiserv_container_state", None, "1 for each container in its state and health."),),
    "vllm": (
        ("aiserv_vllm_up", "up", "Whether the engine of the vLLM server is well."),
        ("aiserv_vllm_requests_running", "requests_running", "Requests that vLLM works on."),
        ("aiserv_vllm_requests_waiting", "requests_waiting", "Requests that wait for vLLM."),
        ("aiserv_vllm_kv_cache_usage_percent", "kv_cache_usage_percent", "How much of vLLM's KV cache is in use."),
        ("aiserv_vllm_generation_tokens_per_second", "generation_tokens_per_second", "Tokens that vLLM generates."),
    ),
    "whisperx": (
        ("aiserv_whisperx_up", "up", "Whether the WhisperX server answers."),
        ("aiserv_whisperx_in_flight", "in_flight", "Transcriptions that it works on."),
        ("aiserv_whisperx_queued", "queued", "Transcriptions that wait for it."),
    ),
}
LABELS: Final = {
    "gpus": ("index", "name"),
    "containers": ("name", "image", "state", "health"),
    "vllm": ("url",),
    "whisperx": ("url",),
}


class SampleMetrics(Collector):
    """Renders what the sampler holds, at every scrape."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def collect(self) -> Iterator[GaugeMetricFamily]:
        readable = GaugeMetricFamily(
            "aiserv_sidecar_source_readable", "Whether the last sample of the source succeeded.", labels=["source"]
        )
        for source, error in self._sampler.errors.items():
            readable.add_metric([source], float(error is None))
        yield readable
        for source, gauges in GAUGES.items():
            for metric, key, text in gauges:
                yield _family(metric, key, text, LABELS[source], self._sampler.rows.get(source, []))


def _family(metric: str, key: str | None, text: str, labels: tuple[str, ...], rows: list[Row]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric, text, labels=labels)
    for row in rows:
        value = 1 if key is None else row[key]
        if value is not None:  # what is not known is left out
            family.add_metric(["" if row[label] is None else str(row[label]) for label in labels], float(value))
    return family
