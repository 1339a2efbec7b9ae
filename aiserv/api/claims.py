"""What workers over HTTP do: claim jobs, and settle or keep what they claimed."""

import json
import logging
from contextlib import suppress
from functools import partial
from typing import Final
from uuid import UUID

import anyio
from aiohttp import web

from aiserv.answers.jobs import JobAnswer, JobsAnswer
from aiserv.api.app_keys import CALLER, CLAIM_LEASE, CLAIMS, DATABASE, METRICS, SETTLEMENTS
from aiserv.api.requests import parse, path_id, roomy
from aiserv.api.responses import HandedOver, job_response
from aiserv.api.routing import Routes
from aiserv.database import DatabaseError
from aiserv.http.connections import while_connected
from aiserv.models import (
    ClaimJobs,
    CompleteJob,
    FailJob,
    HeartbeatJob,
    ReleaseJob,
    SettleCompletion,
    SettleFailure,
    Settlement,
)
from aiserv.problems import SQLSTATES
from aiserv.queries.base import ShownJob

logger = logging.getLogger(__name__)
routes = Routes()

REFUSALS = ["not_found", "lease_lost", "invalid_state"]
TRANSITIONS: Final = {"complete": SettleCompletion, "fail": SettleFailure}

CLAIM_LINKS: Final = dict.fromkeys(
    ("complete_job", "fail_job", "heartbeat_job", "release_job"), ("job_id", "$response.body#/jobs/0/id")
)


@routes.add("POST", "/api/v1/jobs/claim", "worker", {200: JobsAnswer}, body=ClaimJobs, links=CLAIM_LINKS)
async def claim_jobs(request: web.Request) -> web.Response:
    """Settle jobs, and give due ones to a worker, each under a lease; with `wait` once there are some."""
    body, claim = await parse(ClaimJobs, roomy(request))
    settled, jobs = await settle_and_claim(request, body, claim) if "settle" in claim.model_fields_set else ("", [])
    # What was settled may have made room.
    jobs = jobs or await request.app[CLAIMS].first(
        claim,
        request[CALLER].owner,
        partial(claim_now, request, claim),
        partial(while_connected, request),
    )
    request.app[METRICS].transitions("claim", ((job.task_type, job.model_profile) for job in jobs))
    text = f'{{"jobs":[{",".join(job.text for job in jobs)}]{settled}}}'
    return HandedOver(text, partial(give_back, request, claim, jobs))


async def claim_now(request: web.Request, claim: ClaimJobs, *, recover: bool = True) -> list[ShownJob]:
    """What there is for the claim at this moment."""
    lease, owner = request.app[CLAIM_LEASE], request[CALLER].owner
    return await request.app[DATABASE].claim_jobs(claim, lease, owner, recover=recover)


async def give_back(request: web.Request, claim: ClaimJobs, jobs: list[ShownJob]) -> None:
    """Release jobs whose worker never heard of them."""
    logger.info("a claim of %s is gone: %s jobs given back", claim.worker_id, len(jobs))
    for job in jobs:
        released = ReleaseJob(attempt=job.attempt, worker_id=claim.worker_id)
        try:
            await request.app[DATABASE].release_job(job.id, released, [job.version])
        except DatabaseError as error:
            # Cancelled meanwhile, or handed over all the same: the worker has repeated its claim.
            logger.info("job %s is not given back: %s", job.id, error)
            if error.sqlstate is None:
                return  # nobody answers: the leases run out by themselves


async def settle_and_claim(request: web.Request, body: str, claim: ClaimJobs) -> tuple[str, list[ShownJob]]:
    """What became of each settlement, as a member of the answer, and jobs that are there already.

    Side by side, as the built-in workers do it: neither waits for the other's flush.
    """
    settled, jobs = "", list[ShownJob]()
    broken: Exception | None = None

    async def claim_meanwhile() -> None:
        # Whoever gets nothing claims again, and will be told what is wrong.
        with suppress(DatabaseError):
            # The leases of what is being settled may be over, and still count.
            jobs.extend(await claim_now(request, claim, recover=False))

    async with anyio.create_task_group() as tasks:
        if claim.settle and claim.limit:
            tasks.start_soon(claim_meanwhile)
        try:
            settled = await settle(request, body, claim)
        except Exception as error:  # noqa: BLE001 - raised below: here it would cancel a claim that may have its jobs
            broken = error
    if broken:
        await give_back(request, claim, jobs)
        raise broken
    return settled, jobs


async def settle(request: web.Request, body: str, claim: ClaimJobs) -> str:
    """Settle what came with the claim; what became of each, as a member of the answer."""
    foreign = await _jobs_of_others(request, claim)
    given = [item for item in claim.settle if item.id not in foreign]
    settled = await request.app[DATABASE].settle(body, claim, list(foreign)) if given else []
    done = [(type(item), answer) for item, answer in zip(given, settled, strict=True) if answer.code is None]
    for transition, kind in TRANSITIONS.items():
        taken = ((answer.task_type, answer.model_profile) for settlement, answer in done if settlement is kind)
        request.app[METRICS].transitions(transition, taken)
    # As if they were not there: for a token that is bound to an owner they are not.
    answers = iter(settled)
    outcomes = [_unknown(item.id) if item.id in foreign else next(answers) for item in claim.settle]
    return f',"settled":[{",".join(_outcome(outcome) for outcome in outcomes)}]'


async def _jobs_of_others(request: web.Request, claim: ClaimJobs) -> set[UUID]:
    owner = request[CALLER].owner
    if owner is None:
        return set()
    job_ids = {item.id for item in claim.settle}
    return job_ids - await request.app[DATABASE].jobs_of_owner(list(job_ids), owner)


def _unknown(job_id: UUID) -> Settlement:
    return Settlement(job_id, None, "JN404", f"there is no job {job_id}")


def _outcome(settled: Settlement) -> str:
    if settled.code is None:
        return f'{{"id":"{settled.id}","status":"{settled.status}"}}'
    return json.dumps({"id": str(settled.id), "code": SQLSTATES[settled.code], "detail": settled.detail})


@routes.add(
    "POST",
    "/api/v1/jobs/{job_id}/complete",
    "worker",
    {200: JobAnswer},
    body=CompleteJob,
    refusals=REFUSALS,
    answer_headers=["ETag"],
)
async def complete_job(request: web.Request) -> web.Response:
    """Store the result of a job that the caller claimed."""
    job_id = path_id(request)
    body, completed = await parse(CompleteJob, request)
    shown = await request.app[SETTLEMENTS].complete_job(job_id, body)
    return settlement_response(request, "complete", shown, fenced=completed.attempt is not None)


@routes.add("POST", "/api/v1/jobs/{job_id}/fail", "worker", {200: JobAnswer}, body=FailJob, refusals=REFUSALS)
async def fail_job(request: web.Request) -> web.Response:
    """End the attempt of a job that the caller claimed with a failure."""
    job_id = path_id(request)
    body, failed = await parse(FailJob, request)
    shown = await request.app[SETTLEMENTS].fail_job(job_id, body, failed)
    return settlement_response(request, "fail", shown, fenced=failed.attempt is not None)


@routes.add("POST", "/api/v1/jobs/{job_id}/heartbeat", "worker", {200: JobAnswer}, body=HeartbeatJob, refusals=REFUSALS)
async def heartbeat_job(request: web.Request) -> web.Response:
    """Renew the lease of a job that the caller claimed; a refusal tells it to stop."""
    job_id = path_id(request)
    body, heartbeat = await parse(HeartbeatJob, request)
    return job_response(await request.app[DATABASE].heartbeat_job(job_id, body, heartbeat))


@routes.add("POST", "/api/v1/jobs/{job_id}/release", "worker", {200: JobAnswer}, body=ReleaseJob, refusals=REFUSALS)
async def release_job(request: web.Request) -> web.Response:
    """Give a claimed job back unharmed."""
    job_id = path_id(request)
    _, released = await parse(ReleaseJob, request)
    shown = await request.app[DATABASE].release_job(job_id, released)
    return settlement_response(request, "release", shown, fenced=released.attempt is not None)


def settlement_response(request: web.Request, transition: str, shown: ShownJob, *, fenced: bool) -> web.Response:
    """The answer to a settlement, which is counted."""
    request.app[METRICS].transition(transition, shown.task_type, shown.model_profile)
    request.app[METRICS].settlement(fenced=fenced)
    return job_response(shown)
