"""One job over HTTP: create, read, list, claim, and its transitions."""

import json

from aiohttp import web

from aiserv.api.answers import jobs_response, json_response, location
from aiserv.api.app_keys import CLAIM_LEASE, DATABASE, METRICS
from aiserv.api.requests import invalid, no_query, parse, path_id, query, validated
from aiserv.models import (
    CancelJob,
    ClaimJobs,
    CompleteJob,
    CreateJob,
    FailJob,
    HeartbeatJob,
    IdempotencyKey,
    ListJobs,
    ReleaseJob,
    RetryJob,
    is_traceparent,
)

routes = web.RouteTableDef()

LISTS = frozenset(ListJobs.model_fields) - {"created_after", "created_before", "limit", "order", "cursor", "fields"}


@routes.post("/api/v1/jobs")
async def create_job(request: web.Request) -> web.Response:
    """Store a job; with a known idempotency key answer the job it made before."""
    body, job = await parse(CreateJob, request)
    job = with_headers(job, request)
    shown, new = await request.app[DATABASE].create_job(body, job)
    request.app[METRICS].transition("create", job.task_type, job.model_profile, new)
    job_id = json.loads(shown)["id"]
    if not new:
        return json_response(shown, headers={"Idempotency-Replayed": "true", **location(job_id)})
    return json_response(shown, status=201, headers=location(job_id))


def with_headers(job: CreateJob, request: web.Request) -> CreateJob:
    """The job with its key and trace from the headers, where the body gives none."""
    given = {}
    key = request.headers.get("Idempotency-Key")
    if key is not None:
        if job.idempotency_key not in {None, key}:
            raise invalid([{"field": "idempotency_key", "message": "the header Idempotency-Key has another one"}])
        given["idempotency_key"] = validated(IdempotencyKey, {"idempotency_key": key}).idempotency_key
    trace = request.headers.get("traceparent")
    # A header that is no trace context is ignored: https://www.w3.org/TR/trace-context/#traceparent-header
    if trace is not None and job.traceparent is None and is_traceparent(trace):
        given["traceparent"] = trace
    return job.model_copy(update=given)


@routes.get("/api/v1/jobs")
async def list_jobs(request: web.Request) -> web.Response:
    """Jobs that match the query, newest first; `next_cursor` is where the next page begins."""
    page = query(ListJobs, request, LISTS)
    jobs = await request.app[DATABASE].list_jobs(page)
    shown = jobs[: page.limit]
    cursor = json.dumps(str(shown[-1][0]) if len(jobs) > page.limit else None)
    return json_response(f'{{"jobs":[{",".join(job for _, job in shown)}],"next_cursor":{cursor}}}')


@routes.post("/api/v1/jobs/claim")
async def claim_jobs(request: web.Request) -> web.Response:
    """Give due jobs to a worker, each under a lease."""
    _, claim = await parse(ClaimJobs, request)
    return jobs_response(await request.app[DATABASE].claim_jobs(claim, request.app[CLAIM_LEASE]))


@routes.get("/api/v1/jobs/{job_id}")
async def get_job(request: web.Request) -> web.Response:
    """A job as it is now."""
    no_query(request)
    return json_response(await request.app[DATABASE].get_job(path_id(request)))


@routes.get("/api/v1/jobs/{job_id}/attempts")
async def list_attempts(request: web.Request) -> web.Response:
    """Every attempt of a job, oldest first."""
    no_query(request)
    attempts = await request.app[DATABASE].list_attempts(path_id(request))
    return json_response(f'{{"attempts":{attempts}}}')


@routes.post("/api/v1/jobs/{job_id}/complete")
async def complete_job(request: web.Request) -> web.Response:
    """Store the result of a job that the caller claimed."""
    job_id = path_id(request)
    body, completed = await parse(CompleteJob, request)
    request.app[METRICS].settlement(fenced=completed.attempt is not None)
    return json_response(await request.app[DATABASE].complete_job(job_id, body, completed))


@routes.post("/api/v1/jobs/{job_id}/fail")
async def fail_job(request: web.Request) -> web.Response:
    """End the attempt of a job that the caller claimed with a failure."""
    job_id = path_id(request)
    body, failed = await parse(FailJob, request)
    request.app[METRICS].settlement(fenced=failed.attempt is not None)
    return json_response(await request.app[DATABASE].fail_job(job_id, body, failed))


@routes.post("/api/v1/jobs/{job_id}/heartbeat")
async def heartbeat_job(request: web.Request) -> web.Response:
    """Renew the lease of a job that the caller claimed."""
    job_id = path_id(request)
    body, heartbeat = await parse(HeartbeatJob, request)
    return json_response(await request.app[DATABASE].heartbeat_job(job_id, body, heartbeat))


@routes.post("/api/v1/jobs/{job_id}/release")
async def release_job(request: web.Request) -> web.Response:
    """Give a claimed job back unharmed."""
    job_id = path_id(request)
    _, released = await parse(ReleaseJob, request)
    request.app[METRICS].settlement(fenced=released.attempt is not None)
    return json_response(await request.app[DATABASE].release_job(job_id, released))


@routes.post("/api/v1/jobs/{job_id}/retry")
async def retry_job(request: web.Request) -> web.Response:
    """Make a failed or running job pending again."""
    job_id = path_id(request)
    await parse(RetryJob, request)
    return json_response(await request.app[DATABASE].retry_job(job_id))


@routes.post("/api/v1/jobs/{job_id}/cancel")
async def cancel_job(request: web.Request) -> web.Response:
    """Stop a pending or running job for good."""
    job_id = path_id(request)
    _, cancelled = await parse(CancelJob, request)
    return json_response(await request.app[DATABASE].cancel_job(job_id, cancelled))
