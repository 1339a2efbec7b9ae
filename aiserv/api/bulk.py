"""Retry and cancel many jobs by filter over HTTP, committed in pieces: safe to repeat."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from aiserv.answers.jobs import Cancelled, Retried
from aiserv.api.app_keys import CALLER, DATABASE, METRICS
from aiserv.api.requests import parse
from aiserv.api.responses import json_response
from aiserv.api.routing import Routes
from aiserv.filters import BulkFilter, CancelJobs, RetryJobs
from aiserv.problems import Problem
from aiserv.queries.bulk import Reached

routes = Routes()

IDS_SHOWN: Final = 1000


@routes.add("POST", "/api/v1/jobs/retry", "write", {200: Retried}, body=RetryJobs, refusals=["empty_filter"])
async def retry_jobs(request: web.Request) -> web.Response:
    """Make all failed or running jobs that match pending again, oldest first."""
    _, chosen = await parse(RetryJobs, request)
    _refuse_all_by_accident(chosen)
    retried = request.app[DATABASE].retry_jobs(chosen, actor=request[CALLER].name)
    return await _report(request, "retry", "retried", retried)


@routes.add("POST", "/api/v1/jobs/cancel", "write", {200: Cancelled}, body=CancelJobs, refusals=["empty_filter"])
async def cancel_jobs(request: web.Request) -> web.Response:
    """Cancel all pending or running jobs that match, oldest first."""
    _, chosen = await parse(CancelJobs, request)
    _refuse_all_by_accident(chosen)
    cancelled = request.app[DATABASE].cancel_jobs(chosen, actor=request[CALLER].name)
    return await _report(request, "cancel", "cancelled", cancelled)


def _refuse_all_by_accident(chosen: BulkFilter) -> None:
    if chosen.is_empty:
        raise Problem("empty_filter", 'no condition was given; to mean every job, say "all": true')


async def _report(
    request: web.Request, transition: str, done: str, pieces: AsyncIterator[list[Reached]]
) -> web.Response:
    count = 0
    shown: list[str] = []
    async for piece in pieces:
        count += len(piece)
        shown += [str(job_id) for job_id, _, _ in piece[: IDS_SHOWN - len(shown)]]
        for kind, number in Counter((task_type, profile) for _, task_type, profile in piece).items():
            request.app[METRICS].transition(transition, *kind, number)
    return json_response(json.dumps({done: count, "ids": shown}))
