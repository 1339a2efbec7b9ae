"""The sidecar's HTTP port: the last sample for who has the token; health and metrics for everybody."""

from aiohttp import web
from prometheus_client import CollectorRegistry

from aiserv.http.connections import problem_response
from aiserv.probes import probe_routes
from aiserv.problems import unauthorized
from aiserv.sidecar.metrics import SampleMetrics
from aiserv.sidecar.sampler import Sampler
from aiserv.tokens import Tokens


def sidecar_application(sampler: Sampler, tokens: Tokens) -> web.Application:
    """`/status` with one of the tokens, `/healthz`, `/readyz` and `/metrics` without: the same numbers, no secrets."""
    registry = CollectorRegistry(auto_describe=True)
    registry.register(SampleMetrics(sampler))

    async def readiness() -> str | None:
        return None if sampler.sampled.is_set() else "nothing was sampled yet"

    async def status(request: web.Request) -> web.Response:
        """Show the last sample. Only the very first request may wait for one."""
        if tokens.caller(request.headers.get("Authorization", "")) is None:
            return problem_response(unauthorized(), request)
        await sampler.sampled.wait()
        return web.json_response(sampler.status(), headers={"Cache-Control": "no-store"})

    application = web.Application()
    application.add_routes(probe_routes(registry, readiness))
    application.router.add_get("/status", status)
    return application
