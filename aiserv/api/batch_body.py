"""What the body of a batch says, as JSON or a job a line; checked as a whole before anything is stored."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from aiserv.api.app_keys import BATCH_READING, CALLER
from aiserv.api.json_text import read_json, read_text
from aiserv.api.requests import (
    error_list,
    invalid,
    item_error_list,
    query,
    read_bytes,
    read_json_bytes,
    refuse_other_owners,
    roomy,
)
from aiserv.fields import duration_text, time_text
from aiserv.models import BatchQuery, CreateJob, NewJob
from aiserv.problems import Problem

MAX_JOBS: Final = 100_000
NDJSON: Final = {"application/x-ndjson", "application/ndjson", "application/jsonl"}
# With what the items share written into each of them.
MAX_MERGED_BYTES: Final = 256 * 1024 * 1024
# Fields that are JSON when they stand in a query; the others are text.
JSON_FIELDS: Final = {"input", "metadata", "priority", "max_attempts", "timeout_seconds"}
TIMES: Final = {"run_at", "delay"}
# In one call, during which nobody else is answered: a few milliseconds.
CHECKED_AT_ONCE: Final = 1000
# Up to here one is read at a time: Python works on one at a time in any case, and side by side all of them would reach
# PostgreSQL late and at once. For one that takes longer nobody has to wait: it shares the time with the others. What
# takes long is many bytes or many jobs, which may be as short as {}: they are among its objects.
READ_IN_TURN_BYTES: Final = 4 * 1024 * 1024
READ_IN_TURN_OBJECTS: Final = 20_000
_ITEMS: Final = TypeAdapter(list[CreateJob])


@dataclass(frozen=True)
class Batch:
    """A checked batch: the text that PostgreSQL takes it from, task type and model profile of each job, and its owner.

    `text` is the body, or the array of jobs where there is nothing else.
    `has_keys` is whether any job may have an idempotency key of its own.
    `times` has `run_at` and `delay` of each job that has one, as a JSON object; it is None when no job has any.
    `is_plain` is whether no input is null, text, or shared.
    """

    text: str
    kinds: list[tuple[str, str]]
    owners: list[str]
    has_keys: bool
    times: list[str | None] | None
    is_plain: bool
    query: BatchQuery


async def read_batch(request: web.Request) -> Batch:
    """The batch of a request. Raises Problem that says what is wrong with which item, or is of another owner."""
    batch = await _read(request)
    if request[CALLER].owner is not None:
        for index, owner in enumerate(batch.owners):
            refuse_other_owners(request, [owner], f"jobs[{index}].")
    return batch


async def _read(request: web.Request) -> Batch:
    roomy_request = roomy(request)
    if request.content_type in NDJSON:
        wanted = query(BatchQuery, request, only={"return"})
        defaults = {name: value for name, value in request.query.items() if name != "return"}
        if len(defaults) + ("return" in request.query) < len(request.query):
            raise Problem("invalid_request", "each parameter must be given once")
        lines = await read_bytes(roomy_request)
        return await _in_thread(request, partial(_of_lines, given=defaults, wanted=wanted), lines)
    wanted = query(BatchQuery, request)
    return await _in_thread(request, partial(_of_object, wanted=wanted), await read_json_bytes(roomy_request))


async def _in_thread(request: web.Request, read: Callable[[bytes], Batch], body: bytes) -> Batch:
    is_short = len(body) <= READ_IN_TURN_BYTES and body.count(b"{") <= READ_IN_TURN_OBJECTS
    return await anyio.to_thread.run_sync(read, body, limiter=request.app[BATCH_READING] if is_short else None)


def _of_object(body: bytes, wanted: BatchQuery) -> Batch:
    return _checked(*read_json(body), wanted)


def _of_lines(lines: bytes, given: dict[str, str], wanted: BatchQuery) -> Batch:
    try:
        texts = [line for line in lines.decode().split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise Problem("invalid_json", "the body is not UTF-8") from None
    jobs = [read_text(line, f"line {place + 1}", ("jobs", place)) for place, line in enumerate(texts)]
    defaults = {
        name: read_text(text, name, ("defaults", name)) if name in JSON_FIELDS else text for name, text in given.items()
    }
    shared = ",".join(
        f"{json.dumps(name)}:{text if name in JSON_FIELDS else json.dumps(text)}" for name, text in given.items()
    )
    listed = f'"jobs":[{",".join(texts)}]'
    if not defaults:
        return _checked(f"{{{listed}}}", {"jobs": jobs}, wanted)
    return _checked(f'{{"defaults":{{{shared}}},{listed}}}', {"defaults": defaults, "jobs": jobs}, wanted)


def _checked(text: str, body: Any, wanted: BatchQuery) -> Batch:  # noqa: ANN401 - JSON
    if not isinstance(body, dict):
        hint = 'Name the list: {"jobs": [...]}.' if isinstance(body, list) else None
        raise Problem("invalid_request", "the body must be an object", hint=hint)
    jobs, defaults = body.get("jobs"), body.get("defaults", {})
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MAX_JOBS:
        raise invalid([{"field": "jobs", "message": f"must be a list of 1 to {MAX_JOBS} jobs"}])
    if not isinstance(defaults, dict):
        raise invalid([{"field": "defaults", "message": "must be an object"}])
    beside = {name: value for name, value in body.items() if name not in {"jobs", "defaults"}}
    errors = [
        *_errors(beside),
        *({**error, "field": f"defaults.{error['field']}"} for error in _errors(defaults)),
    ]
    if errors:
        raise invalid(errors)
    shared = _merged(beside, defaults)
    items = _items(shared, jobs)
    if shared and len(text) + _inherited_bytes(shared, jobs) > MAX_MERGED_BYTES:
        raise Problem("payload_too_large", "the batch has over 256 MiB with what its jobs share written into each")
    names = set(shared).union(*jobs)
    times = None if names.isdisjoint(TIMES) else [_times(item) for item in items]
    kinds = [(item.task_type, item.model_profile) for item in items]
    owners = [item.owner_service for item in items]
    is_plain = "input" not in shared and all(item.is_plain for item in items)
    # PostgreSQL need not look for them: with no other name, the brackets around the jobs are the first and the last.
    text = text[text.index("[") : text.rindex("]") + 1] if body.keys() == {"jobs"} else text
    return Batch(text, kinds, owners, "idempotency_key" in names, times, is_plain, wanted)


def _items(shared: dict[str, Any], jobs: list[Any]) -> list[CreateJob]:
    """The jobs over what they share. Raises Problem that names every bad one."""
    items: list[CreateJob] = []
    errors: list[dict[str, Any]] = []
    for begin in range(0, len(jobs), CHECKED_AT_ONCE):
        some = jobs[begin : begin + CHECKED_AT_ONCE]
        merged = [{**shared, **job} if isinstance(job, dict) else job for job in some] if shared else some
        try:
            items += _ITEMS.validate_python(merged)
        except ValidationError as error:
            errors += item_error_list(error.errors(include_url=False, include_input=False), begin)
    if errors:
        raise invalid(errors)
    return items


def _times(job: CreateJob) -> str | None:
    """PostgreSQL reads neither all of Go's durations nor all time zones of RFC 3339."""
    if job.run_at is None and job.delay is None:
        return None
    return json.dumps({"run_at": time_text(job.run_at), "delay": duration_text(job.delay)})


def _errors(shared: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        NewJob.model_validate(shared)
    except ValidationError as error:
        return error_list(error.errors())
    return []


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = {**base, **over}
    if isinstance(base.get("input"), dict) and isinstance(over.get("input"), dict):
        merged["input"] = {**base["input"], **over["input"]}
    return merged


def _inherited_bytes(shared: dict[str, Any], jobs: list[dict[str, Any]]) -> int:
    """How much longer the jobs become by what they share."""
    shared_input = shared.get("input")
    inputs = _lengths(shared_input) if isinstance(shared_input, dict) else {}
    fields = _lengths({name: value for name, value in shared.items() if name != "input" or not inputs})
    most = sum(fields.values()) + sum(inputs.values())
    total = 0
    for job in jobs:
        own = job.get("input", {})
        total += most - sum(fields[name] for name in job.keys() & fields.keys())
        if inputs:
            replaced = own.keys() & inputs.keys() if isinstance(own, dict) else inputs.keys()
            total -= sum(inputs[name] for name in replaced)
    return total


def _lengths(fields: dict[str, Any]) -> dict[str, int]:
    return {name: len(json.dumps({name: value}, ensure_ascii=False).encode()) for name, value in fields.items()}
