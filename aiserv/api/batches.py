"""Many jobs at once, all or none, with what they share said once."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final
from uuid import UUID

import anyio
from aiohttp import web

from aiserv.answers.jobs import BatchAnswer, CreatedBatch
from aiserv.api.app_keys import DATABASE, FINISHED, METRICS
from aiserv.api.batch_body import Batch, read_batch
from aiserv.api.preconditions import patience
from aiserv.api.requests import header_key, path_id
from aiserv.api.responses import json_response
from aiserv.api.routing import Routes
from aiserv.http.connections import while_connected
from aiserv.models import BatchQuery, CreateJobs, Waited
from aiserv.queries.base import BatchedJob

routes = Routes()

# Above this many jobs the answer has their ids only.
MAX_JOBS_SHOWN: Final = 1_000


@routes.add(
    "POST",
    "/api/v1/jobs/batch",
    "write",
    {201: CreatedBatch, 200: CreatedBatch},
    query=BatchQuery,
    body=CreateJobs,
    refusals=["idempotency_mismatch", "queue_full"],
    headers=["Idempotency-Key"],
    answer_headers=["Idempotency-Replayed"],
    links={"get_batch": ("batch_id", "$response.body#/batch_id")},
)
async def create_jobs(request: web.Request) -> web.Response:
    """Store many jobs in one transaction; items go over `defaults`, which go over the fields beside `jobs`."""
    key = header_key(request)
    batch = await read_batch(request)
    with_jobs = batch.query.returned is None and len(batch.kinds) <= MAX_JOBS_SHOWN
    database = request.app[DATABASE]
    if not with_jobs and key is None and not batch.has_keys:
        batch_id, ids = await database.create_batch(batch.text, batch.times, plain=batch.is_plain)
        count_transitions(request, batch.kinds)
        return json_response(ids_json(batch_id, ids, created=len(ids)), status=201)
    batch_id, jobs = await database.create_jobs(batch.text, batch.times, key, with_jobs=with_jobs)
    # The key of a batch belongs to the owner of its first job.
    known = await database.batch_with_key(batch.owners[0], key) if key else None
    if known in {None, batch_id}:
        count_created(request, batch, batch_id, jobs)
        return json_response(await anyio.to_thread.run_sync(batch_json, batch_id, jobs), status=201)
    text = await anyio.to_thread.run_sync(batch_json, known, jobs)
    return json_response(text, headers={"Idempotency-Replayed": "true"})


def count_created(request: web.Request, batch: Batch, batch_id: UUID, jobs: list[BatchedJob]) -> None:
    """Count the new jobs, each once however often its key stands in the batch."""
    kinds = {job_id: kind for kind, (job_id, _, made_by) in zip(batch.kinds, jobs, strict=True) if made_by == batch_id}
    count_transitions(request, kinds.values())


def count_transitions(request: web.Request, kinds: Iterable[tuple[str, str]]) -> None:
    for (task_type, model_profile), count in Counter(kinds).items():
        request.app[METRICS].transition("create", task_type, model_profile, count)


def ids_json(batch_id: UUID, ids: Sequence[str], *, created: int) -> str:
    """The answer without jobs."""
    counts = {"batch_id": str(batch_id), "created": created, "existing": len(ids) - created}
    return json.dumps({**counts, "ids": ids})


def batch_json(batch_id: UUID, jobs: list[BatchedJob]) -> str:
    """The answer, with the jobs if they were rendered."""
    created = len({job_id for job_id, _, made_by in jobs if made_by == batch_id})
    answer = ids_json(batch_id, [str(job_id) for job_id, _, _ in jobs], created=created)
    shown = [text for _, text, _ in jobs if text is not None]
    return f'{answer[:-1]},"jobs":[{",".join(shown)}]}}' if shown else answer


@routes.add(
    "GET",
    "/api/v1/batches/{batch_id}",
    "read",
    {200: BatchAnswer},
    query=Waited,
    refusals=["not_found"],
    headers=["Prefer"],
    answer_headers=["Preference-Applied"],
)
async def get_batch(request: web.Request) -> web.Response:
    """How far a batch is, or that it is finished."""
    batch_id = path_id(request, "batch_id")
    wait, applied = patience(request)
    if wait:
        await request.app[FINISHED].wait_for_batch(batch_id, wait, partial(while_connected, request))
    return json_response(await request.app[DATABASE].get_batch(batch_id), headers=applied)
