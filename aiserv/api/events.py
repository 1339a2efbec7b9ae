"""Server-sent events: every job that reaches a final state, to whoever listens."""

from contextlib import suppress
from functools import partial

from aiohttp import hdrs, web

from aiserv.api.app_keys import CALLER, EVENTS, TOKENS
from aiserv.api.requests import query
from aiserv.api.routing import Routes
from aiserv.filters import WatchEvents
from aiserv.http.connections import REQUEST_ID, REQUEST_ID_HEADER, while_connected

routes = Routes()


@routes.add("GET", "/api/v1/events", "read", {200: "text/event-stream"}, query=WatchEvents, headers=["Last-Event-ID"])
async def watch_events(request: web.Request) -> web.StreamResponse:
    """Tell of jobs as they reach a final state: server-sent events, resumable by Last-Event-ID."""
    watched = query(WatchEvents, request)
    events = request.app[EVENTS]
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            REQUEST_ID_HEADER: request[REQUEST_ID],
        }
    )
    position = events.position(request.headers.get("Last-Event-ID"))
    await response.prepare(request)

    def may_listen() -> bool:
        return request.app[TOKENS].caller(request.headers.get(hdrs.AUTHORIZATION, "")) == request[CALLER]

    # That the client goes is how streams end.
    with suppress(ConnectionError):
        async for text in events.stream(watched, position, may_listen, partial(while_connected, request)):
            await response.write(text.encode())
    return response
