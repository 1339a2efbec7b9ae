"""Many jobs at once, all or none, with what they share said once."""

import json
from collections.abc import Iterator
from typing import Any, Final

from aiohttp import web
from pydantic import ValidationError

from aiserv.api.answers import json_response
from aiserv.api.app_keys import DATABASE, MAX_BATCH_BODY, METRICS
from aiserv.api.json_text import refuse_repeated
from aiserv.api.requests import error_list, invalid, no_query, path_id, read_body
from aiserv.models import CreateJob, NewJob
from aiserv.problems import Problem

routes = web.RouteTableDef()

MAX_JOBS: Final = 100_000
# Above this many jobs the answer has their ids only, unless asked for all.
MAX_JOBS_SHOWN: Final = 1_000


@routes.post("/api/v1/jobs/batch")
async def create_jobs(request: web.Request) -> web.Response:
    """Store many jobs in one transaction; items go over `defaults`, which go over the fields beside `jobs`."""
    ids_only = _wants_ids_only(request)
    # The limit of batches, not that of single jobs.
    text, body = await read_body(request.clone(client_max_size=request.app[MAX_BATCH_BODY]))
    shared = check_batch(body)

    database = request.app[DATABASE]
    batch_id = await database.new_id()
    jobs = await database.create_jobs(text, batch_id)

    for item, (_, _, new) in zip(body["jobs"], jobs, strict=True):
        named = {**shared, **item}
        request.app[METRICS].transition("create", named["task_type"], named["model_profile"], new)
    created = sum(new for _, _, new in jobs)
    answer = json.dumps(
        {
            "batch_id": str(batch_id),
            "created": created,
            "existing": len(jobs) - created,
            "ids": [str(job_id) for job_id, _, _ in jobs],
        }
    )
    if not ids_only and len(jobs) <= MAX_JOBS_SHOWN:
        answer = f'{answer[:-1]},"jobs":[{",".join(shown for _, shown, _ in jobs)}]}}'
    return json_response(answer, status=201)


@routes.get("/api/v1/batches/{batch_id}")
async def get_batch(request: web.Request) -> web.Response:
    """How far a batch is."""
    no_query(request)
    return json_response(await request.app[DATABASE].get_batch(path_id(request, "batch_id")))


def check_batch(body: object) -> dict[str, Any]:
    """What the items of a batch share. Raises Problem that lists what is wrong with which item."""
    refuse_repeated(body)
    if not isinstance(body, dict):
        raise Problem("invalid_request", "the body must be an object")
    jobs = body.get("jobs")
    defaults = body.get("defaults", {})
    if not isinstance(jobs, list) or not 1 <= len(jobs) <= MAX_JOBS:
        raise invalid([{"field": "jobs", "message": f"must be a list of 1 to {MAX_JOBS} jobs"}])
    if not isinstance(defaults, dict):
        raise invalid([{"field": "defaults", "message": "must be an object"}])
    refuse_repeated(defaults, "defaults.")
    beside = {name: value for name, value in body.items() if name not in {"jobs", "defaults"}}
    if errors := [*_errors(NewJob, beside), *_errors(NewJob, defaults)]:
        raise invalid(errors)
    shared = {**beside, **defaults}
    if errors := [error for index, job in enumerate(jobs) for error in _item_errors(shared, job, index)]:
        raise invalid(errors)
    return shared


def _item_errors(shared: dict[str, Any], job: object, index: int) -> Iterator[dict[str, Any]]:
    refuse_repeated(job, f"jobs[{index}].")
    if not isinstance(job, dict):
        return iter([{"index": index, "field": "job", "message": "must be an object"}])
    return _errors(CreateJob, {**shared, **job}, index)


def _errors(model: type[NewJob], value: dict[str, Any], index: int | None = None) -> Iterator[dict[str, Any]]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        yield from error_list(error.errors(), index)


def _wants_ids_only(request: web.Request) -> bool:
    for name, value in request.query.items():
        if (name, value) != ("return", "ids"):
            raise Problem("invalid_request", f"{name}: the only parameter known is return=ids")
    return "return" in request.query
