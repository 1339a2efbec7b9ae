"""Queues, workers and numbers over HTTP."""

from typing import Final

from aiohttp import web

from aiserv.answers.overview import QueueAnswer, QueuesAnswer, StatsAnswer, WorkersAnswer
from aiserv.api.app_keys import CALLER, DATABASE
from aiserv.api.preconditions import wanted_versions
from aiserv.api.requests import invalid, parse, query
from aiserv.api.responses import json_response
from aiserv.api.routing import Routes
from aiserv.filters import Stats
from aiserv.models import SetQueue

routes = Routes()

MAX_CHARACTERS: Final = 200


@routes.add("GET", "/api/v1/queues", "read", {200: QueuesAnswer})
async def list_queues(request: web.Request) -> web.Response:
    """The queues that have unfinished jobs or settings."""
    queues, _ = await request.app[DATABASE].list_queues(owner_service=request[CALLER].owner)
    return json_response(f'{{"queues":{queues}}}')


@routes.add("GET", "/api/v1/queues/{model_profile}/{task_type}", "read", {200: QueuesAnswer}, answer_headers=["ETag"])
@routes.add("GET", "/api/v1/queues/{model_profile}", "read", {200: QueuesAnswer}, answer_headers=["ETag"])
async def get_queue(request: web.Request) -> web.Response:
    """A model profile with its task types, or one of them; slashes in names as %2F."""
    queues, version = await request.app[DATABASE].list_queues(*queue_name(request), request[CALLER].owner)
    return json_response(f'{{"queues":{queues}}}', headers={"ETag": f'"{version}"'})


@routes.add(
    "PUT",
    "/api/v1/queues/{model_profile}/{task_type}",
    "admin",
    {200: QueueAnswer},
    body=SetQueue,
    refusals=["precondition_failed"],
    headers=["If-Match"],
    answer_headers=["ETag"],
)
@routes.add(
    "PUT",
    "/api/v1/queues/{model_profile}",
    "admin",
    {200: QueueAnswer},
    body=SetQueue,
    refusals=["precondition_failed"],
    headers=["If-Match"],
    answer_headers=["ETag"],
)
async def set_queue(request: web.Request) -> web.Response:
    """Pause a queue, resume it, or set its limits; what is left out stays, null lifts."""
    model_profile, task_type = queue_name(request)
    _, settings = await parse(SetQueue, request)
    queue, version = await request.app[DATABASE].set_queue(
        model_profile, task_type, settings, wanted_versions(request), actor=request[CALLER].name
    )
    return json_response(queue, headers={"ETag": f'"{version}"'})


def queue_name(request: web.Request) -> tuple[str, str | None]:
    """Model profile and task type in the path. Raises Problem `invalid_request` for names that are too long."""
    for name, value in request.match_info.items():
        if len(value) > MAX_CHARACTERS:
            raise invalid([{"field": name, "message": f"must have at most {MAX_CHARACTERS} characters"}])
    return request.match_info["model_profile"], request.match_info.get("task_type")


@routes.add("GET", "/api/v1/workers", "read", {200: WorkersAnswer})
async def list_workers(request: web.Request) -> web.Response:
    """The workers seen in the last day, live or lost, with the jobs they hold."""
    workers = await request.app[DATABASE].list_workers(request[CALLER].owner)
    return json_response(f'{{"workers":{workers}}}')


@routes.add("GET", "/api/v1/stats", "read", {200: StatsAnswer}, query=Stats)
async def show_stats(request: web.Request) -> web.Response:
    """The numbers of jobs, exact and quick at any size."""
    return json_response(await request.app[DATABASE].show_stats(query(Stats, request)))
