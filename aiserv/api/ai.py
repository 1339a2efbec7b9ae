"""The AI side over HTTP: whether the model servers answer, and what the machine they run on is doing."""

import json

from aiohttp import web

from aiserv.answers.ai import InfraAnswer, ProvidersAnswer
from aiserv.api.app_keys import INFRA, PROVIDERS
from aiserv.api.responses import json_response
from aiserv.api.routing import Routes

routes = Routes()


@routes.add("GET", "/api/v1/providers/status", "read", {200: ProvidersAnswer})
async def show_providers(request: web.Request) -> web.Response:
    """Whether each model server answers, asked now and without spending tokens; 200 also when all are down."""
    return json_response(json.dumps(await request.app[PROVIDERS].status()))


@routes.add("GET", "/api/v1/infra/status", "read", {200: InfraAnswer})
async def show_infra(request: web.Request) -> web.Response:
    """GPUs, containers and model servers, as the sidecar on the AI server sees them; always 200."""
    return json_response(json.dumps(await request.app[INFRA].status()))
