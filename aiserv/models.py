"""The shapes of requests and answers, and a job as a worker gets it.

Request models guard the way in: strict, unknown fields refused. A payload (`input`, `result`, …) is
checked for its presence only: PostgreSQL slices it out of the text of the body, so that it arrives
character for character, and renders it on the way out.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from aiserv.settings import parse_duration

# https://www.rfc-editor.org/rfc/rfc3339#section-5.6; a time without a zone means nothing.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


# https://www.w3.org/TR/trace-context/#traceparent-header
TRACEPARENT: Final = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"


def is_traceparent(text: str) -> bool:
    return re.fullmatch(TRACEPARENT, text) is not None


def parse_time(value: object) -> datetime:
    """The moment that an RFC 3339 text names, in UTC. Raises PydanticCustomError for all else."""
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        # Microseconds are what PostgreSQL keeps; fromisoformat takes six digits of them.
        text = re.sub(r"(\.\d{6})\d+", r"\1", value.upper())
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise PydanticCustomError("time", "must be a time with zone, like 2026-06-09T08:49:12Z")


def time_text(moment: datetime | None) -> str | None:
    """The moment as the API writes it: RFC 3339, UTC, six digits of microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if moment else None


def parse_interval(value: object) -> timedelta:
    """The duration that Go's notation or a number of seconds means. Raises PydanticCustomError for all else."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return parse_duration(value) if isinstance(value, str) else timedelta(seconds=value)
        except (ValueError, OverflowError):
            pass
    raise PydanticCustomError("duration", "must be a duration like 300ms, 2s, 5m or 1h30m, or a number of seconds")


def parse_uuid(value: object) -> UUID:
    """The id that the usual notation of a UUID names. Raises PydanticCustomError for all else."""
    if isinstance(value, UUID):
        return value
    if isinstance(value, str) and _UUID.fullmatch(value):
        return UUID(value)
    raise PydanticCustomError("uuid", "must be a UUID like 0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10")


Time = Annotated[datetime, PlainValidator(parse_time)]
Interval = Annotated[timedelta, PlainValidator(parse_interval)]
Id = Annotated[UUID, PlainValidator(parse_uuid)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Delay = Annotated[Interval, Field(ge=timedelta(0), le=timedelta(days=366))]
Lease = Annotated[Interval, Field(ge=timedelta(seconds=1), le=timedelta(hours=24))]
Attempt = Annotated[int, Field(ge=1, le=2**31 - 1)]
Category = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Status = Literal["pending", "running", "completed", "failed", "cancelled"]


class Request(BaseModel):
    """A body or a query. `parameters()` are the arguments of the SQL function of the same name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


class Usage(Request):
    """Tokens as the provider counted them."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    prompt_tokens: Annotated[int, Field(ge=0)] | None = None
    completion_tokens: Annotated[int, Field(ge=0)] | None = None
    total_tokens: Annotated[int, Field(ge=0)] | None = None


class NewJob(Request):
    """The fields of a job that its creator may set, all optional: an item of a batch, or its defaults."""

    owner_service: Name | None = None
    owner_ref: Annotated[str, Field(max_length=500)] = ""
    task_type: Name | None = None
    model_profile: Name | None = None
    input: JsonValue = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    run_at: Time | None = None
    delay: Delay | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    idempotency_key: Name | None = None
    traceparent: Annotated[str, Field(pattern=TRACEPARENT)] | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.run_at is not None and self.delay is not None:
            raise PydanticCustomError("delay", "give run_at or delay, not both")
        return self


class CreateJob(NewJob):
    """The body of `POST /api/v1/jobs`."""

    owner_service: Name
    task_type: Name
    model_profile: Name


class IdempotencyKey(Request):
    """The header `Idempotency-Key`: text, as a database can store it."""

    idempotency_key: Annotated[Name, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]


class ClaimJobs(Request):
    """The body of `POST /api/v1/jobs/claim`."""

    worker_id: Name
    task_types: Annotated[list[Name], Field(max_length=1000)] | None = None
    model_profiles: Annotated[list[Name], Field(max_length=1000)] | None = None
    limit: Annotated[int, Field(ge=0, le=1000)] = 1
    lease: Lease | None = None
    claim_id: Name | None = None


class CompleteJob(Request):
    """The body of `POST /api/v1/jobs/{id}/complete`."""

    result: JsonValue
    attempt: Attempt | None = None
    worker_id: Name | None = None
    usage: Usage | None = None


class FailJob(Request):
    """The body of `POST /api/v1/jobs/{id}/fail`."""

    category: Category
    message: str
    attempt: Attempt | None = None
    worker_id: Name | None = None
    retryable: bool = False
    retry_after: Delay | None = None
    usage: Usage | None = None


class HeartbeatJob(Request):
    """The body of `POST /api/v1/jobs/{id}/heartbeat`."""

    attempt: Attempt | None = None
    worker_id: Name | None = None
    lease: Lease | None = None
    progress: JsonValue = None


class ReleaseJob(Request):
    """The body of `POST /api/v1/jobs/{id}/release`."""

    attempt: Attempt | None = None
    worker_id: Name | None = None
    delay: Delay | None = None


class RetryJob(Request):
    """The body of `POST /api/v1/jobs/{id}/retry`: nothing to say."""


class CancelJob(Request):
    """The body of `POST /api/v1/jobs/{id}/cancel`."""

    reason: Annotated[str, Field(max_length=10_000)] | None = None


class ListJobs(Request):
    """The query of `GET /api/v1/jobs`: conditions, each a list of which any may match, and a page."""

    id: Annotated[list[Id], Field(max_length=1000)] | None = None
    owner_service: list[str] | None = None
    owner_ref: list[str] | None = None
    task_type: list[str] | None = None
    model_profile: list[str] | None = None
    status: list[Status] | None = None
    error_category: list[str] | None = None
    worker_id: list[str] | None = None
    batch_id: list[Id] | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    order: Literal["newest", "oldest"] = "newest"
    cursor: Id | None = None
    fields: Literal["summary"] | None = None


class JobAnswer(BaseModel):
    """A job as the API shows it."""

    model_config = ConfigDict(extra="forbid")

    id: Id
    owner_service: str
    owner_ref: str
    task_type: str
    model_profile: str
    status: Status
    priority: int
    input: JsonValue
    result: JsonValue
    progress: JsonValue
    metadata: dict[str, JsonValue]
    usage: dict[str, JsonValue] | None
    error_category: str | None
    error_message: str | None
    attempt: int
    failures: int
    max_attempts: int
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


@dataclass(frozen=True)
class Job:
    """A claimed job as an executor gets it; `attempt` is the fencing token of this run."""

    id: UUID
    owner_service: str
    task_type: str
    model_profile: str
    attempt: int
    timeout_seconds: float | None
    traceparent: str | None
    input: JsonValue
    run_at: datetime
    started_at: datetime
    lease_expires_at: datetime

    @property
    def waited_seconds(self) -> float:
        """From the moment it was due to its claim, both by PostgreSQL's clock."""
        return max((self.started_at - self.run_at).total_seconds(), 0)


@dataclass(frozen=True)
class Settlement:
    """What became of one settlement: the job's status, or the SQLSTATE of the refusal and why."""

    id: UUID | None
    status: str | None
    code: str | None
    detail: str | None
