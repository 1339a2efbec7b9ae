"""Model servers, and the machine that they run on."""

from typing import Literal

from pydantic.json_schema import SkipJsonSchema

from aiserv.answers.base import Answer, Count
from aiserv.fields import Time


class ProviderAnswer(Answer):
    """One model server."""

    name: Literal["llm", "whisperx", "qwen2-audio", "voxtral-small"]
    kind: Literal["chat", "transcription"]
    configured: bool
    status: Literal["ok", "busy", "degraded", "down", "not_configured"]
    model: str | None
    endpoint: str | None
    has_api_key: bool
    latency_ms: float | None
    checked_at: Time | None
    error: str | None


class ProvidersAnswer(Answer):
    """The model servers."""

    providers: list[ProviderAnswer]


class Gpu(Answer):
    """A GPU of the AI server; null is what it does not tell."""

    index: Count
    name: str | None
    utilization_percent: float | None
    memory_used_mib: float | None
    memory_total_mib: float | None
    temperature_c: float | None
    power_w: float | None


class Container(Answer):
    """A container of the AI server."""

    name: str
    image: str
    state: str
    health: str | None


class Vllm(Answer):
    """A vLLM of the AI server."""

    url: str
    up: bool
    model: str | None
    requests_running: float | None
    requests_waiting: float | None
    kv_cache_usage_percent: float | None
    generation_tokens_per_second: float | None


class WhisperX(Answer):
    """A WhisperX of the AI server."""

    url: str
    up: bool
    in_flight: float | None
    queued: float | None


class InfraAnswer(Answer):
    """The AI server; only `configured` when no sidecar is."""

    configured: bool
    available: bool | SkipJsonSchema[None] = None
    fetched_at: Time | SkipJsonSchema[None] = None
    error: str | None = None
    gpus: list[Gpu] | SkipJsonSchema[None] = None
    containers: list[Container] | SkipJsonSchema[None] = None
    vllm: list[Vllm] | SkipJsonSchema[None] = None
    whisperx: list[WhisperX] | SkipJsonSchema[None] = None
