"""The sidecar's HTTP port: the last sample for who has the token; health and metrics for everybody."""

import hmac
from collections.abc import Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry

from aiserv.http.connections import problem_response
from aiserv.probes import probe_routes
from aiserv.problems import Problem
from aiserv.sidecar.metrics import SampleMetrics
from aiserv.sidecar.sampler import Sampler


def sidecar_application(sampler: Sampler, tokens: Sequence[str]) -> web.Application:
    """`/status` with one of the tokens, `/healthz`, `/readyz` and `/metrics` without: the same numbers, no secrets."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(SampleMetrics(sampler))

    async def readiness() -> str | None:
        return None if sampler.sampled.is_set() else "nothing was sampled yet"

    async def status(request: web.Request) -> web.Response:
        """Show the last sample. Only the very first request may wait for one."""
        if not _is_allowed(request, tokens):
            refusal = Problem(
                "unauthorized",
                "a valid bearer token is needed: Authorization: Bearer <token>",
                headers={"WWW-Authenticate": "Bearer"},
            )
            return problem_response(refusal, request)
        await sampler.sampled.wait()
        return web.json_response(sampler.status(), headers={"Cache-Control": "no-store"})

    application = web.Application()
    application.add_routes(probe_routes(registry, readiness))
    application.router.add_get("/status", status)
    return application


def _is_allowed(request: web.Request, tokens: Sequence[str]) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given = token.strip().encode(errors="surrogateescape")
    # Every one is compared: time tells nothing of which was right.
    matches = [hmac.compare_digest(given, known.encode()) for known in tokens]
    return scheme.lower() == "bearer" and any(matches)
