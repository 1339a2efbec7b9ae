"""Jobs over HTTP: create, read and list them, retry and cancel one."""

import json
from functools import partial
from typing import Final
from uuid import UUID

import anyio
from aiohttp import web

from aiserv.answers.jobs import AttemptsAnswer, JobAnswer, JobPage
from aiserv.api.app_keys import CALLER, CREATES, DATABASE, FINISHED, METRICS
from aiserv.api.cursors import cursor_after, last_of
from aiserv.api.headers import TRACEPARENT
from aiserv.api.preconditions import patience, wanted_versions
from aiserv.api.requests import header_key, invalid, parse, path_id, query
from aiserv.api.responses import job_response, json_response, versioned
from aiserv.api.routing import Routes
from aiserv.fields import is_traceparent
from aiserv.filters import ListJobs
from aiserv.http.connections import while_connected
from aiserv.models import CancelJob, CreateJob, Nothing, Waited
from aiserv.queries.base import JobJson
from aiserv.queries.jobs import PAGE_BYTES

routes = Routes()

JOB_LINKS: Final = dict.fromkeys(
    ("get_job", "list_attempts", "retry_job", "cancel_job"), ("job_id", "$response.body#/id")
)


@routes.add(
    "POST",
    "/api/v1/jobs",
    "write",
    {201: JobAnswer, 200: JobAnswer},
    query=Waited,
    body=CreateJob,
    refusals=["idempotency_mismatch", "queue_full"],
    headers=["Idempotency-Key", "traceparent", "Prefer"],
    answer_headers=["ETag", "Location", "Idempotency-Replayed", "Preference-Applied"],
    links=JOB_LINKS,
)
async def create_job(request: web.Request) -> web.Response:
    """Store a job; with a known idempotency key answer the job it made before."""
    app = request.app
    body, job = await parse(CreateJob, request)
    job = with_headers(job, request)
    wait, applied = patience(request)
    created = await app[CREATES].create_job(body, job)
    app[METRICS].transition("create", job.task_type, job.model_profile, int(created.is_new))
    shown = await app[FINISHED].wait_for(UUID(created.id), wait, partial(while_connected, request)) if wait else created
    replayed = {} if created.is_new else {"Idempotency-Replayed": "true"}
    headers = {"Location": f"/api/v1/jobs/{created.id}", **replayed, **applied}
    return job_response(shown, status=201 if created.is_new else 200, headers=headers)


def with_headers(job: CreateJob, request: web.Request) -> CreateJob:
    """The job with its key and trace from the headers, where the body gives none."""
    given = {}
    key = header_key(request)
    if key is not None:
        if job.idempotency_key not in {None, key}:
            raise invalid([{"field": "idempotency_key", "message": "the header Idempotency-Key has another one"}])
        given["idempotency_key"] = key
    trace = request.headers.get(TRACEPARENT)
    # A header that is no trace context is ignored: https://www.w3.org/TR/trace-context/#traceparent-header
    if trace is not None and job.traceparent is None and is_traceparent(trace):
        given["traceparent"] = trace
    return job.model_copy(update=given) if given else job


@routes.add("GET", "/api/v1/jobs", "read", {200: JobPage}, query=ListJobs)
async def list_jobs(request: web.Request) -> web.Response:
    """Jobs that match the query, newest first; `next_cursor` is where the next page begins."""
    page = query(ListJobs, request)
    database = request.app[DATABASE]
    jobs = await database.list_jobs(page, last_of(page.cursor, page.order))
    total = await database.count_jobs(page) if page.include_total else None
    text = await anyio.to_thread.run_sync(page_json, page, jobs, total)
    return json_response(text)


def page_json(page: ListJobs, jobs: list[tuple[UUID, JobJson]], total: int | None) -> str:
    """The page as JSON. One job more than was asked for, or a page full of bytes, means that another one follows."""
    shown = jobs[: page.limit]
    more = len(jobs) > page.limit or sum(len(job.encode()) for _, job in shown) >= PAGE_BYTES
    cursor = cursor_after(shown[-1][0], page.order) if more else None
    counted = "" if total is None else f',"total":{total}'
    return f'{{"jobs":[{",".join(job for _, job in shown)}],"next_cursor":{json.dumps(cursor)}{counted}}}'


@routes.add(
    "GET",
    "/api/v1/jobs/{job_id}",
    "read",
    {200: JobAnswer, 304: ""},
    query=Waited,
    refusals=["not_found"],
    headers=["If-None-Match", "Prefer"],
    answer_headers=["ETag", "Preference-Applied"],
)
async def get_job(request: web.Request) -> web.Response:
    """A job as it is now, or when it is finished."""
    job_id = path_id(request)
    wait, applied = patience(request)
    if wait:
        shown = await request.app[FINISHED].wait_for(job_id, wait, partial(while_connected, request))
    else:
        shown = await request.app[DATABASE].get_job(job_id)
    return versioned(request, shown.text, shown.version, applied)


@routes.add("GET", "/api/v1/jobs/{job_id}/attempts", "read", {200: AttemptsAnswer}, refusals=["not_found"])
async def list_attempts(request: web.Request) -> web.Response:
    """Every attempt of a job, oldest first."""
    attempts = await request.app[DATABASE].list_attempts(path_id(request))
    return json_response(f'{{"attempts":{attempts}}}')


@routes.add(
    "POST",
    "/api/v1/jobs/{job_id}/retry",
    "write",
    {200: JobAnswer},
    body=Nothing,
    refusals=["not_found", "invalid_state", "precondition_failed"],
    headers=["If-Match"],
    answer_headers=["ETag"],
)
async def retry_job(request: web.Request) -> web.Response:
    """Make a failed or running job pending again."""
    job_id = path_id(request)
    await parse(Nothing, request)
    shown = await request.app[DATABASE].retry_job(job_id, wanted_versions(request), actor=request[CALLER].name)
    request.app[METRICS].transition("retry", shown.task_type, shown.model_profile)
    return job_response(shown)


@routes.add(
    "POST",
    "/api/v1/jobs/{job_id}/cancel",
    "write",
    {200: JobAnswer},
    body=CancelJob,
    refusals=["not_found", "invalid_state", "precondition_failed"],
    headers=["If-Match"],
    answer_headers=["ETag"],
)
async def cancel_job(request: web.Request) -> web.Response:
    """Stop a pending or running job for good."""
    job_id = path_id(request)
    _, cancelled = await parse(CancelJob, request)
    shown = await request.app[DATABASE].cancel_job(
        job_id, cancelled, wanted_versions(request), actor=request[CALLER].name
    )
    request.app[METRICS].transition("cancel", shown.task_type, shown.model_profile)
    return job_response(shown)
