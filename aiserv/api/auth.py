"""Bearer tokens: `/api/v1` needs one, unknown paths under it included, before a body is read."""

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aiserv.problems import Problem

_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


def require_token(tokens: Sequence[str]) -> Middleware:
    """A middleware that lets through who has one of the tokens; without any token, everybody."""
    digests = [_digest(token) for token in tokens]

    @web.middleware
    async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        if digests and is_api(request) and not _is_known(request, digests):
            raise Problem(
                "unauthorized",
                "a valid bearer token is needed: Authorization: Bearer <token>",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return await handler(request)

    return check_token


def is_api(request: web.Request) -> bool:
    """Whether the path is one of the API's, known or not; all others are open."""
    return request.path.startswith("/api/") or request.path == "/api"


def _is_known(request: web.Request, digests: Sequence[bytes]) -> bool:
    given = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    if not given:
        return False
    digest = _digest(given[1])
    # Digests of equal length, and every one compared: time tells nothing of how much was right.
    matches = [hmac.compare_digest(digest, known) for known in digests]
    return any(matches)


def _digest(token: str) -> bytes:
    # A header may hold any bytes; aiohttp hands on what is no UTF-8 as surrogates.
    return sha256(token.encode(errors="surrogateescape")).digest()
