"""The application: routes, middlewares, and whether it is on its way out."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from aiserv.api import batches, jobs
from aiserv.api.app_keys import CLAIM_LEASE, DATABASE, MAX_BATCH_BODY, METRICS
from aiserv.api.auth import require_token
from aiserv.api.middlewares import measured, problems, request_ids
from aiserv.database import Database
from aiserv.metrics import ServerMetrics
from aiserv.probes import database_readiness, probe_routes
from aiserv.problems import unavailable

logger = logging.getLogger(__name__)

STATS_SECONDS: Final = 5.0


@dataclass
class Server:
    """The application over a database; `stopping` turns requests away while those in flight finish."""

    database: Database
    metrics: ServerMetrics
    claim_lease: timedelta
    tokens: Sequence[str] = ()
    max_body: int = 16 * 1024 * 1024
    max_batch_body: int = 64 * 1024 * 1024
    stopping: bool = field(default=False, init=False)
    _stats_at: float = field(default=-STATS_SECONDS, init=False)

    def application(self) -> web.Application:
        app = web.Application(
            middlewares=[request_ids, measured, problems, self._refuse_when_stopping, require_token(self.tokens)],
            client_max_size=self.max_body,
        )
        app[DATABASE] = self.database
        app[METRICS] = self.metrics
        app[CLAIM_LEASE] = self.claim_lease
        app[MAX_BATCH_BODY] = self.max_batch_body
        app.add_routes(probe_routes(self.metrics.registry, self.readiness, self._refresh))
        app.add_routes(batches.routes)
        app.add_routes(jobs.routes)
        return app

    async def readiness(self) -> str | None:
        """Why requests cannot be served, or None."""
        return "the server is stopping" if self.stopping else await database_readiness(self.database)

    @web.middleware
    async def _refuse_when_stopping(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.stopping and request.path.startswith("/api/"):
            raise unavailable("the server is stopping")
        return await handler(request)

    async def _refresh(self) -> None:
        """Bring the gauges of the tables up to date, unless they are fresh; without a database they stay as they are."""
        if time.monotonic() - self._stats_at < STATS_SECONDS:
            return
        self._stats_at = time.monotonic()
        try:
            self.metrics.jobs(await self.database.stats(), await self.database.queues())
        except Exception as error:  # noqa: BLE001 - a scrape must not fail with the database
            logger.warning("metrics of the tables are stale: %s", type(error).__name__)
