"""Which jobs a request means: the queries and bodies that hold conditions."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, JsonValue
from pydantic.config import JsonDict

from aiserv.fields import (
    FLAG_FROM_TEXT,
    NUMBER_FROM_TEXT,
    AnyOf,
    FinalStatus,
    Given,
    Id,
    Moment,
    Name,
    OwnerRef,
    Status,
    Time,
)
from aiserv.models import Request


class Filter(Request):
    """Conditions that must all hold, each a value or a list of which any may match."""

    id: AnyOf[Id] = None
    owner_service: AnyOf[Name] = None
    owner_ref: AnyOf[OwnerRef] = None
    task_type: AnyOf[Name] = None
    model_profile: AnyOf[Name] = None
    status: AnyOf[Status] = None
    error_category: AnyOf[Name] = None
    worker_id: AnyOf[Name] = None
    batch_id: AnyOf[Id] = None
    created_after: Given[Time] = None
    created_before: Given[Time] = None


class ListJobs(Filter):
    """Which jobs, and which page of them."""

    limit: Annotated[int, Field(ge=1, le=1000), NUMBER_FROM_TEXT] = 100
    order: Literal["newest", "oldest"] = "newest"
    cursor: str | None = None
    fields: Literal["summary"] | None = None
    include_total: Annotated[bool, FLAG_FROM_TEXT] = False


def _refuse_empty(schema: JsonDict) -> None:
    """Say in the schema what is_empty finds: neither "all" nor any condition. Generators of clients pass by a `not`."""
    absent: list[JsonValue] = [{"not": {"required": [name]}} for name in Filter.model_fields]
    schema["not"] = {"properties": {"all": {"const": False}}, "allOf": absent}


class BulkFilter(Filter):
    """Which jobs a verb is for. Without any condition it must say that all are meant."""

    model_config = ConfigDict(json_schema_extra=_refuse_empty)

    limit: Given[Annotated[int, Field(ge=1, le=2**31 - 1)]] = None
    all: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it would mean every job, without having said so."""
        return not self.all and self.model_fields_set.isdisjoint(Filter.model_fields)


class RetryJobs(BulkFilter):
    """Which jobs to make pending again; without status the failed and the running ones."""

    status: AnyOf[Literal["failed", "running"]] = Field(default=["failed", "running"])  # type: ignore[assignment]  # narrower


class CancelJobs(BulkFilter):
    """Which jobs to cancel; without status the pending and the running ones."""

    status: AnyOf[Literal["pending", "running"]] = Field(default=["pending", "running"])  # type: ignore[assignment]  # narrower
    reason: Annotated[str, Field(max_length=10_000)] | None = None


class Stats(Request):
    """Whose numbers, and since when what is finished counts."""

    owner_service: Name | None = None
    task_type: Name | None = None
    model_profile: Name | None = None
    since: Moment | None = None


class WatchEvents(Request):
    """Which finished jobs to tell of."""

    id: AnyOf[Id] = None
    owner_service: AnyOf[Name] = None
    task_type: AnyOf[Name] = None
    model_profile: AnyOf[Name] = None
    status: AnyOf[FinalStatus] = None
    batch_id: AnyOf[Id] = None
