"""The shapes of requests, and a job as a worker gets it.

Request models guard the way in: strict, unknown fields refused. A payload (`input`, `result`, …) is
checked for its presence only: PostgreSQL slices it out of the text of the body, so that it arrives
character for character, and renders it on the way out.
"""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from aiserv.fields import (
    Attempt,
    Category,
    ClaimWait,
    Delay,
    Id,
    Lease,
    Name,
    OwnerRef,
    Payload,
    Time,
    Traceparent,
    Wait,
    duration_text,
    time_text,
)

# More tokens than any call can have, and exact in every JSON reader.
MAX_TOKENS: Final = 2**53
Tokens = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
PerMinute = Annotated[int, Field(ge=1, le=2**31 - 1)]
# What may come otherwise than in the body, or in a form that PostgreSQL does not read.
_WRITTEN_ANEW: Final = {"run_at", "delay", "idempotency_key", "traceparent"}


class Request(BaseModel):
    """A body or a query. `parameters()` are the arguments of the SQL function of the same name."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


class Nothing(Request):
    """A query without parameters, or a body that has nothing to say."""


class Usage(Request):
    """Tokens as the provider counted them; what else it said stays with them."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    total_tokens: Tokens | None = None


class NewJob(Request):
    """The fields of a job that its creator may set, all optional: what the items of a batch share."""

    # What _one_time checks, for clients.
    model_config = ConfigDict(
        json_schema_extra={
            "not": {
                "required": ["run_at", "delay"],
                "properties": {name: {"not": {"type": "null"}} for name in ("run_at", "delay")},
            }
        }
    )

    owner_service: Name | None = None
    owner_ref: OwnerRef = ""
    task_type: Name | None = None
    model_profile: Name | None = None
    input: Payload = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    run_at: Time | None = None
    delay: Delay | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    metadata: dict[str, Payload] = Field(default_factory=dict)
    idempotency_key: Name | None = None
    traceparent: Traceparent | None = None

    @field_validator("delay")
    @classmethod
    def _one_time(cls, delay: timedelta | None, given: ValidationInfo) -> timedelta | None:
        if delay is not None and given.data.get("run_at") is not None:
            raise PydanticCustomError("delay", "give run_at or delay, not both")
        return delay


class CreateJob(NewJob):
    """A job to be stored."""

    owner_service: Name
    task_type: Name
    model_profile: Name

    @property
    def is_plain(self) -> bool:
        """Whether PostgreSQL, too, reads it at one look: its input is neither null nor text."""
        return self.input is not None and not isinstance(self.input, str)

    def over(self, body: str) -> str:
        """The text of the body it was read from, with what came otherwise, or what PostgreSQL would not read.

        Of members with one name PostgreSQL takes the last, so these are appended and nothing is rendered anew.
        """
        if self.model_fields_set.isdisjoint(_WRITTEN_ANEW):
            return body
        own = {
            "run_at": time_text(self.run_at),
            "delay": duration_text(self.delay),
            "idempotency_key": self.idempotency_key,
            "traceparent": self.traceparent,
        }
        given = {name: value for name, value in own.items() if value is not None}
        return f"{body.rstrip()[:-1]},{json.dumps(given)[1:]}" if given else body


class CreateJobs(NewJob):
    """A batch: items go over `defaults`, which go over the fields beside `jobs`."""

    defaults: NewJob = NewJob()
    jobs: Annotated[list[NewJob], Field(min_length=1, max_length=100_000)]


class Waited(Request):
    """How long the answer may wait for the end of what it shows."""

    wait: Wait | None = None


class BatchQuery(Request):
    """What the answer of a batch holds: `return=ids` leaves out the jobs."""

    returned: Literal["ids"] | None = Field(default=None, alias="return")


class SettleCompletion(Request):
    """A finished job of a claim: its result."""

    id: Id
    attempt: Attempt
    result: Payload
    usage: Usage | None = None


class SettleFailure(Request):
    """A finished job of a claim: why it failed."""

    id: Id
    attempt: Attempt
    category: Category
    message: str
    retryable: bool = False
    retry_after: Delay | None = None
    usage: Usage | None = None


def _kind(item: object) -> str:
    return "completion" if isinstance(item, dict) and "result" in item else "failure"


Settle = Annotated[
    Annotated[SettleCompletion, Tag("completion")] | Annotated[SettleFailure, Tag("failure")],
    Discriminator(_kind),
]


class ClaimJobs(Request):
    """What a worker takes, and what it has finished."""

    worker_id: Name
    task_types: Annotated[list[Name], Field(max_length=1000)] | None = None
    model_profiles: Annotated[list[Name], Field(max_length=1000)] | None = None
    limit: Annotated[int, Field(ge=0, le=1000)] = 1
    lease: Lease | None = None
    wait: ClaimWait = Field(default=timedelta(0), json_schema_extra={"default": "0s"})
    claim_id: Name | None = None
    settle: Annotated[list[Settle], Field(max_length=1000)] = []


class CompleteJob(Request):
    """The result of a job."""

    result: Payload
    attempt: Attempt | None = None
    worker_id: Name | None = None
    usage: Usage | None = None


class FailJob(Request):
    """Why a job failed."""

    category: Category
    message: str
    attempt: Attempt | None = None
    worker_id: Name | None = None
    retryable: bool = False
    retry_after: Delay | None = None
    usage: Usage | None = None


class HeartbeatJob(Request):
    """How long from now the lease holds; without it as long as claimed for."""

    attempt: Attempt | None = None
    worker_id: Name | None = None
    lease: Lease | None = None
    progress: Payload = None


class ReleaseJob(Request):
    """When the job may be claimed again."""

    attempt: Attempt | None = None
    worker_id: Name | None = None
    delay: Delay | None = None


class CancelJob(Request):
    """Why the job is cancelled."""

    reason: Annotated[str, Field(max_length=10_000)] | None = None


class SetQueue(Request):
    """Pauses and limits; what is left out stays, null lifts."""

    paused: bool | None = None
    pause_reason: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    max_running: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    requests_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None


class Job(NamedTuple):
    """A claimed job as an executor gets it; `attempt` is the fencing token of this run."""

    id: UUID
    owner_service: str
    task_type: str
    model_profile: str
    attempt: int
    timeout_seconds: float | None
    traceparent: str | None
    input_json: str
    run_at: datetime
    started_at: datetime
    lease_expires_at: datetime

    @property
    def input(self) -> JsonValue:
        """What the job asks for. Raises ValueError and RecursionError for what Python cannot read."""
        return json.loads(self.input_json)  # type: ignore[no-any-return]  # JSON

    @property
    def waited_seconds(self) -> float:
        """From the moment it was due to its claim, both by PostgreSQL's clock."""
        return max((self.started_at - self.run_at).total_seconds(), 0)


class Settlement(NamedTuple):
    """What became of one settlement: the job's status, or the SQLSTATE of the refusal and why.

    The job's task type and model profile are there where the server, which has not seen the job, asked for them.
    """

    id: UUID | None
    status: str | None
    code: str | None
    detail: str | None
    task_type: str = ""
    model_profile: str = ""
