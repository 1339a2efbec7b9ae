"""What happens to every request: an id, a measurement, and a problem for whatever goes wrong."""

import logging
import re
import time
from typing import Final
from uuid import uuid4

from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.typedefs import Handler
from aiohttp.web_exceptions import HTTPException

from aiserv.api.app_keys import METRICS, REQUEST_ID
from aiserv.problems import Problem, database_problem
from aiserv.serving import problem_response

logger = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")

# What aiohttp itself refuses.
HTTP_CODES: Final = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}


@web.middleware
async def request_ids(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every request an id, the client's own if it is one, and answer with it."""
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
    response = await handler(request)
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    return response


@web.middleware
async def measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Measure every request by its route, never by its path: paths have no end."""
    started = time.monotonic()
    response = await handler(request)
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "unknown"
    request.app[METRICS].request(route, request.method, response.status, time.monotonic() - started)
    return response


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error, of whatever origin, as a problem."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem, request[REQUEST_ID])
    except HTTPException as error:
        if error.status < 400:  # noqa: PLR2004 - no error: a redirect
            raise
        return problem_response(_aiohttp_problem(error), request[REQUEST_ID])
    except ContentEncodingError:
        return problem_response(Problem("invalid_json", "the body is not valid gzip"), request[REQUEST_ID])
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem and the log the rest
        problem = database_problem(error)
        if problem is None:
            logger.exception("request %s failed", request[REQUEST_ID])
            problem = Problem("internal", "an error of ours; the log has it under the request id")
        elif problem.code == "unavailable":
            logger.warning("request %s: %s", request[REQUEST_ID], type(error).__name__)
        return problem_response(problem, request[REQUEST_ID])


def _aiohttp_problem(error: HTTPException) -> Problem:
    code = HTTP_CODES.get(error.status, "invalid_request" if error.status < 500 else "internal")  # noqa: PLR2004
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(code, f"{error.method} is not allowed here; allowed: {allowed}", headers={"Allow": allowed})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem(code, "the body is larger than this server takes")
    if isinstance(error, web.HTTPNotFound):
        return Problem(code, "there is nothing at this path")
    return Problem(code, error.reason)
