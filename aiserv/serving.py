"""An aiohttp application on a port: problems for what its parser refuses, and a stop that lets requests finish."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from uuid import uuid4

from aiohttp import web

from aiserv.problems import Problem

MAX_HEAD_BYTES: Final = 32 * 1024
BACKLOG: Final = 1024
SERVER_ERROR: Final = 500


@asynccontextmanager
async def serving(
    application: web.Application, host: str, port: int, *, shutdown_timeout: timedelta
) -> AsyncIterator[int]:
    """The port at which the application is served, until the end of the block; then requests in flight may finish."""
    runner = _Runner(
        application,
        access_log=None,
        shutdown_timeout=shutdown_timeout.total_seconds(),
        max_line_size=MAX_HEAD_BYTES,
        max_field_size=MAX_HEAD_BYTES,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_address=True)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def problem_response(problem: Problem, request_id: str) -> web.Response:
    """The problem as RFC 9457 wants it answered."""
    return web.Response(
        text=json.dumps(problem.body(request_id)),
        status=problem.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", "X-Request-Id": request_id, **problem.headers},
    )


class _RequestHandler(web.RequestHandler):
    """Answers what aiohttp's parser refuses as a problem, too: that happens below all middlewares."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= SERVER_ERROR:
            # Logs it, and refuses when an answer has begun already.
            super().handle_error(request, status, exc, message)
            problem = Problem("internal", "an error of ours; the log has it")
        else:
            problem = Problem("invalid_request", "the request is not valid HTTP")
        response = problem_response(problem, uuid4().hex)
        response.force_close()
        return response


class _Server(web.Server):
    def __call__(self) -> _RequestHandler:
        return _RequestHandler(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        # aiohttp has no public way to choose the class of request handlers.
        server = await super()._make_server()
        return _Server(server.request_handler, request_factory=server.request_factory, **self._kwargs)
