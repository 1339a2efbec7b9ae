"""Who may do what: a token, its scope, and the owner it is bound to, checked before a body is read."""

from aiohttp import hdrs, web

from aiserv.api.app_keys import CALLER, DATABASE
from aiserv.api.requests import path_id
from aiserv.problems import Problem, unauthorized
from aiserv.tokens import Caller, Scope, Tokens


def check_token(request: web.Request, tokens: Tokens, needed: Scope | None) -> Caller:
    """Who asks, having a token whose scope is enough; unknown paths of the API need one, too, of whatever scope."""
    caller = tokens.caller(request.headers.get(hdrs.AUTHORIZATION, ""))
    if caller is None:
        raise unauthorized()
    request[CALLER] = caller
    if needed and not caller.may(needed):
        raise Problem("forbidden", f"this needs a token of scope {needed}; {caller.name} has {caller.scope}")
    return caller


async def refuse_jobs_of_others(request: web.Request, owner: str) -> None:
    """Hide the jobs and batches of others from a token that is bound to an owner.

    A job never changes its owner, so a look before the transition is as good as one within it.
    """
    if "job_id" in request.match_info:
        job_id = path_id(request)
        if job_id not in await request.app[DATABASE].jobs_of_owner([job_id], owner):
            raise Problem("not_found", f"there is no job {job_id}")
    if "batch_id" in request.match_info:
        batch_id = path_id(request, "batch_id")
        if not await request.app[DATABASE].is_batch_of(batch_id, owner):
            raise Problem("not_found", f"there is no batch {batch_id}")


def is_api(request: web.Request) -> bool:
    """Whether the path is one of the API's, known or not; all others are open."""
    return request.path.startswith("/api/") or request.path == "/api"
