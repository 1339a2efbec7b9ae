"""The shapes of answers, for the OpenAPI document and the tests: PostgreSQL renders them, and no server parses them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from aiserv.fields import Id, Payload, Status, Time

Count = Annotated[int, Field(ge=0)]


class Answer(BaseModel):
    """Every key is always there, unless it may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)


class JobSummary(Answer):
    """A job without its payloads."""

    id: Id
    owner_service: str
    owner_ref: str
    task_type: str
    model_profile: str
    status: Status
    priority: int
    metadata: dict[str, Payload]
    usage: dict[str, Any] | None
    error_category: str | None
    error_message: str | None
    attempt: Count
    failures: Count
    max_attempts: Count
    worker_id: str | None
    idempotency_key: str | None
    batch_id: Id | None
    traceparent: str | None
    run_at: Time
    lease_expires_at: Time | None
    timeout_seconds: float | None
    created_at: Time
    updated_at: Time
    started_at: Time | None
    finished_at: Time | None


class JobAnswer(JobSummary):
    """A job."""

    input: Payload
    result: Payload
    progress: Payload


class JobsAnswer(Answer):
    """Claimed jobs, and what became of each job that was settled with the claim."""

    jobs: list[JobAnswer]
    settled: list["Settled | NotSettled"] | SkipJsonSchema[None] = None


class Settled(Answer):
    """A job that the settlement reached."""

    id: Id
    status: Status


class NotSettled(Answer):
    """A job that refused its settlement."""

    id: Id
    code: str
    detail: str


class JobPage(Answer):
    """A page of jobs; `next_cursor` leads to the next one. `total` only if it was asked for."""

    jobs: list[JobAnswer | JobSummary]
    next_cursor: str | None
    total: Count | SkipJsonSchema[None] = None


class AttemptAnswer(Answer):
    """One run of a job."""

    attempt: Count
    worker_id: str
    started_at: Time
    finished_at: Time | None
    outcome: Literal["completed", "failed", "retrying", "superseded", "released", "lease_expired", "cancelled"] | None
    error_category: str | None
    error_message: str | None


class AttemptsAnswer(Answer):
    """The runs of a job, oldest first."""

    attempts: list[AttemptAnswer]


class CreatedBatch(Answer):
    """The jobs of a batch in input order; `jobs` is left out on request, and in large batches."""

    batch_id: Id
    created: Count
    existing: Count
    ids: list[Id]
    jobs: list[JobAnswer] | SkipJsonSchema[None] = None


class Counts(Answer):
    """How many jobs of a batch are in which state."""

    pending: Count
    running: Count
    completed: Count
    failed: Count
    cancelled: Count
    total: Count


class BatchAnswer(Answer):
    """How far a batch is."""

    batch_id: Id
    created_at: Time
    counts: Counts
    finished: bool


class Retried(Answer):
    """How many jobs were retried, and the first thousand of them."""

    retried: Count
    ids: list[Id]


class Cancelled(Answer):
    """How many jobs were cancelled, and the first thousand of them."""

    cancelled: Count
    ids: list[Id]


class QueueAnswer(Answer):
    """A model profile, or one task type of it."""

    model_profile: str
    task_type: str | None
    paused: bool
    paused_until: Time | None
    pause_reason: str | None
    max_running: Count | None
    requests_per_minute: Count | None
    tokens_per_minute: Count | None
    running: Count
    pending: Count


class QueuesAnswer(Answer):
    """Queues that have unfinished jobs or settings."""

    queues: list[QueueAnswer]


class HeldJob(Answer):
    """A job that a worker holds."""

    id: Id
    attempt: Count


class WorkerAnswer(Answer):
    """One start of a built-in worker, or one name of a worker over HTTP."""

    worker_id: str
    instance_id: Id
    kind: Literal["builtin", "http"]
    task_types: list[str]
    model_profiles: list[str]
    slots: Count | None
    owner_service: str | None
    busy: Count
    last_seen_at: Time
    state: Literal["live", "lost"]
    jobs: list[HeldJob]


class WorkersAnswer(Answer):
    """Who claims."""

    workers: list[WorkerAnswer]


class StatsQueue(Answer):
    """Jobs by state; `scheduled` are those of the pending ones that are not due yet."""

    pending: Count
    scheduled: Count
    running: Count
    completed: Count
    failed: Count
    cancelled: Count
    total: Count


class StatsGroup(Answer):
    """The numbers of one owner, task type and model profile."""

    owner_service: str
    task_type: str
    model_profile: str
    pending: Count
    running: Count
    completed: Count
    failed: Count
    cancelled: Count
    oldest_pending_seconds: float | None


class StatsBacklog(Answer):
    """The due jobs of queues that are not paused."""

    pending: Count
    oldest_pending_seconds: float | None
    drain_seconds: float | None


class Unserved(Answer):
    """Work that no live worker takes."""

    task_type: str
    model_profile: str
    pending: Count


class StatsAnswer(Answer):
    """The numbers of jobs."""

    queue: StatsQueue
    errors: dict[str, Count]
    groups: list[StatsGroup]
    backlog: StatsBacklog
    unserved: list[Unserved]
    generated_at: Time


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


class FieldError(Answer):
    """What is wrong with a field; `index` is that of an item of a batch."""

    index: Count | SkipJsonSchema[None] = None
    field: str
    message: str


class ProblemAnswer(Answer):
    """Why a request was refused: RFC 9457. `errors` is there for validation only."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    error: str
    request_id: str
    errors: list[FieldError] | SkipJsonSchema[None] = None


class Health(Answer):
    """That all is well."""

    status: Literal["ok"]
