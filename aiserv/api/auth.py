"""Who may do what: a token, its scope, and the owner it is bound to, checked before a body is read."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from aiserv.api.app_keys import CALLER, DATABASE
from aiserv.api.requests import path_id
from aiserv.api.routing import Scopes
from aiserv.problems import Problem
from aiserv.tokens import Tokens


def require_token(tokens: Tokens, scopes: Scopes) -> Middleware:
    """A middleware that lets through who has a token whose scope is enough; unknown paths of the API need one, too."""

    @web.middleware
    async def check_token(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_api(request):
            caller = tokens.caller(request.headers.get("Authorization", ""))
            if caller is None:
                raise Problem(
                    "unauthorized",
                    "a valid bearer token is needed: Authorization: Bearer <token>",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            request[CALLER] = caller
            needed = scopes.of(request)
            if needed and not caller.may(needed):
                raise Problem("forbidden", f"this needs a token of scope {needed}; {caller.name} has {caller.scope}")
        return await handler(request)

    return check_token


@web.middleware
async def own_jobs_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Hide the jobs and batches of others from a token that is bound to an owner.

    A job never changes its owner, so a look before the transition is as good as one within it.
    """
    owner = request[CALLER].owner if is_api(request) else None
    if owner is not None:
        if "job_id" in request.match_info:
            job_id = path_id(request)
            if job_id not in await request.app[DATABASE].jobs_of_owner([job_id], owner):
                raise Problem("not_found", f"there is no job {job_id}")
        if "batch_id" in request.match_info:
            batch_id = path_id(request, "batch_id")
            if not await request.app[DATABASE].is_batch_of(batch_id, owner):
                raise Problem("not_found", f"there is no batch {batch_id}")
    return await handler(request)


def is_api(request: web.Request) -> bool:
    """Whether the path is one of the API's, known or not; all others are open."""
    return request.path.startswith("/api/") or request.path == "/api"
