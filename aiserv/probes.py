"""Health, readiness and metrics over HTTP, the same for servers and workers."""

from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from aiserv.database import Database, DatabaseError
from aiserv.http.connections import problem_response
from aiserv.problems import unavailable

# SQLSTATEs undefined_function and invalid_schema_name.
NOT_INSTALLED: Final = ("42883", "3F000")
NOT_ALLOWED: Final = "42501"  # insufficient_privilege
# Kubernetes asks every few seconds, and gives up after one or two.
READINESS_SECONDS: Final = 1.5

# Why a process is not ready, or None when it is.
Readiness = Callable[[], Awaitable[str | None]]


def probe_routes(
    registry: CollectorRegistry, readiness: Readiness, refresh: Callable[[], Awaitable[None]] | None = None
) -> list[web.RouteDef]:
    """`/healthz`, `/readyz` and `/metrics`; `refresh` brings gauges up to date before they are shown."""
    render = make_aiohttp_handler(registry)

    async def healthz(_request: web.Request) -> web.Response:
        """Answer while the process turns: nothing else is asked, or an outage of the database would restart it."""
        return web.json_response({"status": "ok"})

    async def readyz(request: web.Request) -> web.Response:
        """Answer 200 when requests can be served, else 503 and why."""
        reason = await readiness()
        if reason is None:
            return web.json_response({"status": "ok"})
        return problem_response(unavailable(reason), request)

    async def metrics(request: web.Request) -> web.StreamResponse:
        """Show the metrics as Prometheus or OpenMetrics text."""
        if refresh:
            await refresh()
        return await render(request)

    return [web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)]


async def database_readiness(database: Database) -> str | None:
    """Why the database cannot be used, or None: it must answer soon, take writes, and its schema fit this version."""
    try:
        # Not left to the server, which may be silent: an abandoned question costs its connection.
        with anyio.fail_after(READINESS_SECONDS):
            missing = await database.missing_migrations()
            is_read_only = await database.is_read_only()
    except TimeoutError:
        return "PostgreSQL cannot be used: it does not answer"
    except DatabaseError as error:
        if error.sqlstate in NOT_INSTALLED:
            return "the schema is not installed: run aiserv migrate"
        if error.sqlstate == NOT_ALLOWED:
            return "the schema may not be used by this role: grant it aiserv_service"
        return f"PostgreSQL cannot be used: {type(error).__name__}"
    if missing:
        return f"the schema is not up to date: run aiserv migrate ({', '.join(missing)} missing)"
    return "PostgreSQL is read-only: a standby?" if is_read_only else None
