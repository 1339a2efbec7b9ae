"""Jobs, batches, and what many at once came to."""

from typing import Any, Literal

from pydantic.json_schema import SkipJsonSchema

from aiserv.answers.base import Answer, Count
from aiserv.fields import Id, Payload, Status, Time


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
