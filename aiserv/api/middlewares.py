"""What happens to every request: an id, a measurement, and a problem for whatever goes wrong."""

import logging
import re
import time
from typing import Final
from urllib.parse import unquote_to_bytes
from uuid import uuid4

from aiohttp import HttpVersion10, web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.typedefs import Handler
from aiohttp.web_exceptions import HTTPException
from aiohttp.web_protocol import RequestPayloadError

from aiserv.api.app_keys import METRICS
from aiserv.problems import Problem, database_problem
from aiserv.serving import REQUEST_ID, problem_response

logger = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")

# Shorter answers do not become shorter.
LEAST_BYTES: Final = 1024
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
    return await handler(request)


async def show_request_id(request: web.Request, response: web.StreamResponse) -> None:
    """Answer with the id, also when the answer is a stream that its handler begins."""
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]


@web.middleware
async def text_targets(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what no later reader should have to think of: other versions, and targets that are no text."""
    if request.version < HttpVersion10:
        raise Problem("invalid_request", "HTTP/1.0 or newer is needed")
    try:
        target = unquote_to_bytes(request.raw_path.encode()).decode()
    except UnicodeError:
        raise Problem("invalid_request", "path and query must be UTF-8") from None
    if "\0" in target:
        raise Problem("invalid_request", "path and query must not hold NUL")
    return await handler(request)


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
async def compressed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress what is worth it, for clients that take gzip; its ETag says so, as the bytes differ."""
    response = await handler(request)
    is_worth_it = isinstance(response, web.Response) and (response.content_length or 0) >= LEAST_BYTES
    if is_worth_it and "Content-Encoding" not in response.headers:
        response.headers["Vary"] = "Accept-Encoding"
        if _takes_gzip(request):
            response.enable_compression(web.ContentCoding.gzip)
            if "ETag" in response.headers:
                response.headers["ETag"] = f'{response.headers["ETag"][:-1]}-gzip"'
    return response


def _takes_gzip(request: web.Request) -> bool:
    """https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3."""
    weights = {}
    for part in ",".join(request.headers.getall("Accept-Encoding", [])).split(","):
        coding, _, weight = part.replace(" ", "").lower().partition(";q=")
        weights[coding] = weight
    return not re.fullmatch(r"0(\.0*)?", weights.get("gzip", weights.get("*", "0")))


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error, of whatever origin, as a problem."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem, request)
    except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem and the log the rest
        return problem_response(problem_of(error, request[REQUEST_ID]), request)


def problem_of(error: Exception, request_id: str) -> Problem:
    """What an error means to a client; what it should not mean to anybody is logged."""
    if isinstance(error, HTTPException):
        return _aiohttp_problem(error)
    if isinstance(error, BadHttpMessage | RequestPayloadError | ConnectionError):
        return Problem("invalid_request", "the body is not valid HTTP, or ends too early")
    problem = database_problem(error)
    if problem is None:
        logger.error("request %s failed", request_id, exc_info=error)
        return Problem("internal", "an error of ours; the log has it under the request id")
    if problem.code == "unavailable":
        logger.warning("request %s: %s", request_id, type(error).__name__)
    return problem


def _aiohttp_problem(error: HTTPException) -> Problem:
    code = HTTP_CODES.get(error.status, "invalid_request" if error.status < 500 else "internal")  # noqa: PLR2004
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(code, f"{error.method} is not allowed here; allowed: {allowed}", headers={"Allow": allowed})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return Problem(code, "the body is larger than this route takes, as sent or when decompressed")
    if isinstance(error, web.HTTPNotFound):
        return Problem(code, "there is nothing at this path")
    return Problem(code, error.reason)
