"""All routes of the API."""

from typing import Final

from aiserv.api import ai, batches, bulk, claims, events, jobs, overview
from aiserv.api.routing import Route

TABLE: Final[tuple[Route, ...]] = (
    *jobs.routes,
    *batches.routes,
    *bulk.routes,
    *claims.routes,
    *events.routes,
    *overview.routes,
    *ai.routes,
)
OPEN: Final = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"]
# What clients may call: method and path.
ROUTES: Final = [(route.method, route.path) for route in TABLE] + [("GET", path) for path in OPEN]
