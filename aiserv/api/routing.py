"""The table of routes: what each takes and answers, for the router and for the OpenAPI document alike."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Final

from aiohttp import web
from pydantic import BaseModel

from aiserv.api.requests import query
from aiserv.models import Nothing, Request
from aiserv.tokens import Scope

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Beside a job's own path there are words that are no ids: GET on them is 405, not a malformed id.
_PATTERNS: Final = {"{job_id}": r"{job_id:(?!(?:batch|claim|retry|cancel)$)[^/]+}"}


@dataclass(frozen=True, eq=False)
class Route:
    """One method of one path, and the scope that a token needs for it.

    `answers` are the models of its answers below 400, or their media types; `refusals` are codes of problems. `links`
    name operations that take a parameter from the answer: the parameter, and where in the answer its value stands.
    """

    method: str
    path: str
    scope: Scope
    handler: Handler
    query: type[Request]
    body: type[Request] | None
    answers: dict[int, type[BaseModel] | str]
    refusals: Sequence[str]
    headers: Sequence[str]
    answer_headers: Sequence[str]
    links: dict[str, tuple[str, str]]

    def definition(self) -> web.RouteDef:
        """The route as aiohttp takes it; a query that it does not know is refused before anything else."""
        path = self.path
        for name, pattern in _PATTERNS.items():
            path = path.replace(name, pattern)
        return web.RouteDef(self.method, path, _strict(self.handler) if self.query is Nothing else self.handler, {})


class Routes:
    """Decorators that put handlers into a table."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def add(
        self,
        method: str,
        path: str,
        scope: Scope,
        answers: dict[int, type[BaseModel] | str],
        *,
        query: type[Request] = Nothing,
        body: type[Request] | None = None,
        refusals: Sequence[str] = (),
        headers: Sequence[str] = (),
        answer_headers: Sequence[str] = (),
        links: dict[str, tuple[str, str]] | None = None,
    ) -> Callable[[Handler], Handler]:
        """Register the handler of a method and path; its docstring describes it to clients."""

        def register(handler: Handler) -> Handler:
            self._routes.append(
                Route(
                    method, path, scope, handler, query, body, answers, refusals, headers, answer_headers, links or {}
                )
            )
            return handler

        return register


class Scopes:
    """Which scope a request needs."""

    def __init__(self, table: Iterable[Route]) -> None:
        self._scopes = {(route.method, route.path): route.scope for route in table}

    def of(self, method: str, path: str | None) -> Scope | None:
        """The scope of a route, given with its template; None where there is none, so that the answer is 404 or 405."""
        if path is None:
            return None
        # Who forgets to put a route into the table leaves it to admins.
        return self._scopes.get(("GET" if method == "HEAD" else method, path), "admin")


def _strict(handler: Handler) -> Handler:
    @wraps(handler)
    async def refuse_query(request: web.Request) -> web.StreamResponse:
        query(Nothing, request)
        return await handler(request)

    return refuse_query
