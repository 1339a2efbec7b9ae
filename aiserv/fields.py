"""The types of fields that requests and answers are made of: strict, each with words that say what it takes."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from aiserv.values import parse_duration

# https://www.rfc-editor.org/rfc/rfc3339#section-5.6; a time without a zone means nothing.
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_DIGITS: Final = re.compile(r"-?\d{1,18}", re.ASCII)
# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT: Final = r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"

MAX_VALUES: Final = 1000
MAX_WAIT: Final = timedelta(minutes=5)


def is_traceparent(text: str) -> bool:
    return re.fullmatch(_TRACEPARENT, text) is not None


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
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z") if moment else None


def duration_text(duration: timedelta | None) -> str | None:
    """The duration as PostgreSQL reads it: not in seconds, of which Python writes few as 1e-05."""
    return None if duration is None else f"{duration // timedelta(microseconds=1)} microseconds"


def parse_interval(value: object) -> timedelta:
    """The duration that Go's notation or a number of seconds means.

    Raises PydanticCustomError for all else.
    """
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


def parse_moment(value: object) -> datetime | timedelta:
    """A moment, or how long ago it was. Raises PydanticCustomError for all else."""
    if isinstance(value, str) and _RFC3339.fullmatch(value):
        return parse_time(value)
    try:
        return parse_interval(value)
    except PydanticCustomError:
        raise PydanticCustomError(
            "moment", "must be a time with zone, like 2026-06-09T08:49:12Z, or a duration like 24h"
        ) from None


def _duration_schema(low: timedelta, high: timedelta) -> dict[str, Any]:
    return {
        "description": "A Go duration such as 300ms, 2s, 5m or 1h30m; a number means seconds.",
        "anyOf": [
            {"type": "string", "format": "go-duration"},
            {"type": "number", "minimum": low.total_seconds(), "maximum": high.total_seconds()},
        ],
        "examples": ["5m"],
    }


def _from(least: str, most: str) -> tuple[AfterValidator, WithJsonSchema]:
    """A range of durations, in words that are the bounds themselves."""
    low, high = parse_duration(least), parse_duration(most)

    def check(duration: timedelta) -> timedelta:
        if not low <= duration <= high:
            raise PydanticCustomError("duration", f"must be from {least} to {most}")
        return duration

    return AfterValidator(check), WithJsonSchema(_duration_schema(low, high))


def _like(pattern: str, words: str) -> tuple[AfterValidator, WithJsonSchema]:
    """Text of a form, in words that people read more easily than the pattern."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise PydanticCustomError("form", f"must be {words}")
        return text

    return AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


def _given(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "must not be null: leave it out instead")
    return value


def _listed(value: object) -> object:
    """A value alone is a list of one."""
    return value if isinstance(_given(value), list) else [value]


@dataclass(frozen=True)
class NotNull:
    """Shows clients that a field may be left out, but not be null."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema)["anyOf"][0]  # type: ignore[no-any-return]  # a schema


@dataclass(frozen=True)
class Conditions(NotNull):
    """Marks what may be given many times, and shows clients so."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        array = super().__get_pydantic_json_schema__(schema, handler)
        return {"anyOf": [array["items"], array]}


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


def _flag(value: object) -> object:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


Item = TypeVar("Item")

Time = Annotated[
    datetime,
    PlainValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Interval = Annotated[timedelta, PlainValidator(parse_interval)]
Moment = Annotated[
    datetime | timedelta,
    PlainValidator(parse_moment),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "go-duration"},
                {"type": "number", "minimum": 0},
            ]
        }
    ),
]
Id = Annotated[UUID, PlainValidator(parse_uuid), WithJsonSchema({"type": "string", "format": "uuid"})]
Name = Annotated[str, Field(min_length=1, max_length=200)]
OwnerRef = Annotated[str, Field(max_length=500)]
Delay = Annotated[Interval, *_from("0s", "8784h")]
Lease = Annotated[Interval, *_from("1s", "24h")]
ClaimWait = Annotated[Interval, *_from("0s", "60s")]
Wait = Annotated[Interval, *_from("0s", "300s")]
Attempt = Annotated[int, Field(ge=1, le=2**31 - 1)]
Category = Annotated[
    str, *_like("[a-z][a-z0-9_]{0,63}", "a lower-case word of at most 64 letters, digits and underscores")
]
Traceparent = Annotated[str, *_like(_TRACEPARENT, "a W3C trace context")]
Status = Literal["pending", "running", "completed", "failed", "cancelled"]
FinalStatus = Literal["completed", "failed", "cancelled"]
# JSON of the caller's or the worker's: only its text matters, and PostgreSQL slices that itself.
Payload = Any
# A list of which any may match; a value alone is a list of one.
AnyOf = Annotated[
    Annotated[list[Item], Field(min_length=1, max_length=MAX_VALUES)] | None,
    BeforeValidator(_listed),
    Conditions(),
]
# What may be left out, but not be null.
Given = Annotated[Item | None, BeforeValidator(_given), NotNull()]
# What stands in a query is text: numbers and flags are read from it.
NUMBER_FROM_TEXT: Final = BeforeValidator(_number)
FLAG_FROM_TEXT: Final = BeforeValidator(_flag)
