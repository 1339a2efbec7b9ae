"""What happens to every request: an id, a measurement, and a problem for whatever goes wrong."""

import logging
import random
import re
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import HttpVersion10, hdrs, web
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.typedefs import Handler
from aiohttp.web_exceptions import HTTPException
from aiohttp.web_protocol import RequestPayloadError

from aiserv.api.auth import check_token, is_api, refuse_jobs_of_others
from aiserv.api.routing import Scopes
from aiserv.http.connections import REQUEST_ID, REQUEST_ID_HEADER, problem_response
from aiserv.metrics import ServerMetrics
from aiserv.problems import Problem, database_problem, unavailable
from aiserv.tokens import Tokens

logger = logging.getLogger(__name__)

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,200}")

# What metrics call a request whose client went while its body came or it waited; the number is nginx's.
GONE: Final = 499
# Shorter answers do not become shorter.
LEAST_BYTES: Final = 1024


class Reception:
    """What happens to every request: an id, a token, a measurement, and a problem for whatever goes wrong.

    One middleware and not one for each of these: every frame between aiohttp and the handler costs every request.
    """

    def __init__(self, metrics: ServerMetrics, tokens: Tokens, scopes: Scopes, is_stopping: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._tokens = tokens
        self._scopes = scopes
        self._is_stopping = is_stopping

    @web.middleware
    async def receive(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer the request, and every error, of whatever origin, as a problem."""
        started = time.monotonic()
        request_id = request[REQUEST_ID] = _request_id(request)
        resource = request.match_info.route.resource
        # By its route, never by its path: paths have no end.
        route = resource.canonical if resource else None
        status = None
        try:
            owner = self._checked_owner(request, route)
            if owner is not None:
                await refuse_jobs_of_others(request, owner)
            response = await handler(request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a problem and the log the rest
            response = problem_response(problem_of(error, request_id), request)
            status = GONE if isinstance(error, ConnectionError) else None
            if request.writer.output_size > 0:
                # An answer that has begun can only break off: a second one would stand in the middle of it.
                request.protocol.force_close()
        # A stream that its handler began has sent its headers.
        if not response.prepared:
            response.headers[REQUEST_ID_HEADER] = request_id
            _compress(request, response)
        self._metrics.request(route or "unknown", request.method, status or response.status, time.monotonic() - started)
        return response

    def _checked_owner(self, request: web.Request, route: str | None) -> str | None:
        """The owner that the request's token is bound to, if it is. Raises Problem for what nobody is to answer."""
        if not is_api(request):
            _check_target(request)
            return None
        caller = check_token(request, self._tokens, self._scopes.of(request.method, route))
        _check_target(request)
        if self._is_stopping():
            raise unavailable("the server is stopping")
        return caller.owner


def _request_id(request: web.Request) -> str:
    """The client's own id of the request if it is one, else a new one."""
    given = request.headers.get(REQUEST_ID_HEADER)
    # Not of the system's entropy, which would be a call of the kernel.
    return given if given and _REQUEST_ID.fullmatch(given) else random.randbytes(16).hex()  # noqa: S311 - no secret


def _check_target(request: web.Request) -> None:
    """Refuse what no later reader should have to think of: other versions, and targets that are no text."""
    if request.version < HttpVersion10:
        raise Problem("invalid_request", "HTTP/1.0 or newer is needed")
    target = request.raw_path
    if "%" in target or not target.isascii():
        try:
            target = unquote_to_bytes(target.encode()).decode()
        except UnicodeError:
            raise Problem("invalid_request", "path and query must be UTF-8") from None
    if "\0" in target:
        raise Problem("invalid_request", "path and query must not hold NUL")


def _compress(request: web.Request, response: web.StreamResponse) -> None:
    """Compress what is worth it, for clients that take gzip; its ETag says so, as the bytes differ."""
    # Streams have none. To ask for a class of aiohttp's, which is abstract, takes longer than all the rest.
    body = getattr(response, "body", None)
    if isinstance(body, bytes) and len(body) >= LEAST_BYTES and hdrs.CONTENT_ENCODING not in response.headers:
        response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
        if _takes_gzip(request):
            response.enable_compression(web.ContentCoding.gzip)
            if hdrs.ETAG in response.headers:
                response.headers[hdrs.ETAG] = f'{response.headers[hdrs.ETAG][:-1]}-gzip"'


def _takes_gzip(request: web.Request) -> bool:
    """https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3."""
    if hdrs.ACCEPT_ENCODING not in request.headers:
        return False
    weights = {}
    for part in ",".join(request.headers.getall(hdrs.ACCEPT_ENCODING)).split(","):
        coding, _, weight = part.replace(" ", "").lower().partition(";q=")
        weights[coding] = weight
    return not re.fullmatch(r"0(\.0*)?", weights.get("gzip", weights.get("*", "0")))


def problem_of(error: Exception, request_id: str) -> Problem:
    """What an error means to a client; what it should not mean to anybody is logged."""
    if isinstance(error, Problem):
        return error
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
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        problem = f"{error.method} is not allowed here; allowed: {allowed}"
        return Problem("method_not_allowed", problem, headers={"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return Problem("not_found", "there is nothing at this path; /docs lists all that there are")
    return Problem("invalid_request" if isinstance(error, web.HTTPClientError) else "internal", error.reason)
