"""The application: routes, middlewares, and whether it is on its way out."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import anyio
from aiohttp import web

from aiserv.api.app_keys import (
    BATCH_READING,
    CLAIM_LEASE,
    CLAIMS,
    CREATES,
    DATABASE,
    DEADLINES,
    EVENTS,
    FINISHED,
    INFRA,
    MAX_BATCH_BODY,
    METRICS,
    PROVIDERS,
    SETTLEMENTS,
    TOKENS,
)
from aiserv.api.creates import Creates
from aiserv.api.event_log import Events
from aiserv.api.finished import FinishedJobs
from aiserv.api.middlewares import Reception
from aiserv.api.openapi import document_routes
from aiserv.api.routes import TABLE
from aiserv.api.routing import Scopes
from aiserv.api.settlements import Settlements
from aiserv.api.waiting_claims import WaitingClaims
from aiserv.database import Database
from aiserv.http.serving import USUAL_DEADLINES, Deadlines
from aiserv.infra import InfraStatus
from aiserv.metrics import ServerMetrics
from aiserv.probes import database_readiness, probe_routes
from aiserv.providers_status import ProvidersStatus
from aiserv.tokens import Tokens

logger = logging.getLogger(__name__)

STATS_SECONDS: Final = 5.0
STATS_PATIENCE_SECONDS: Final = 3.0


@dataclass
class Server:
    """The application over a database; `stopping` turns requests away while those in flight finish."""

    database: Database
    # Probes and scrapes have a connection of their own: they must say how things are while requests queue.
    probe_database: Database
    metrics: ServerMetrics
    providers: ProvidersStatus
    infra: InfraStatus
    claim_lease: timedelta
    tokens: Tokens = field(default_factory=Tokens)
    max_body: int = 16 * 1024 * 1024
    max_batch_body: int = 64 * 1024 * 1024
    deadlines: Deadlines = USUAL_DEADLINES
    stopping: bool = field(default=False, init=False)
    creates: Creates = field(init=False)
    settlements: Settlements = field(init=False)
    finished: FinishedJobs = field(init=False)
    events: Events = field(init=False)
    claims: WaitingClaims = field(init=False)
    _stats_at: float = field(default=-STATS_SECONDS, init=False)

    def __post_init__(self) -> None:
        # Each may wait for a lock: all together leave most connections to others.
        places_alone = anyio.CapacityLimiter(max(1, self.database.size // 3))
        self.creates = Creates(self.database, places_alone)
        self.settlements = Settlements(self.database, places_alone)
        self.finished = FinishedJobs(self.database)
        self.events = Events(self.database)
        self.claims = WaitingClaims(self.database)

    def heard(self) -> dict[str, Callable[[str], None]]:
        """What must be told of which notifications."""
        return {
            "aiserv_finished": self._hear_finished,
            "aiserv_ready": self.claims.hear,
        }

    def look(self) -> None:
        """Let everybody look for themselves: notifications were missed."""
        self.finished.look()
        self.claims.look()
        self.events.missed()

    def stop(self) -> None:
        """Turn new requests away, and let those that wait go with what they have."""
        self.stopping = True
        self.finished.stop()
        self.claims.stop()
        self.events.stop()

    def _hear_finished(self, payload: str) -> None:
        self.finished.hear(payload)
        self.events.hear(payload)

    def application(self) -> web.Application:
        reception = Reception(self.metrics, self.tokens, Scopes(TABLE), lambda: self.stopping)
        app = web.Application(
            middlewares=[reception.receive],
            client_max_size=self.max_body,
        )
        app[DATABASE] = self.database
        app[CREATES] = self.creates
        app[SETTLEMENTS] = self.settlements
        app[FINISHED] = self.finished
        app[EVENTS] = self.events
        app[CLAIMS] = self.claims
        app[PROVIDERS] = self.providers
        app[INFRA] = self.infra
        app[TOKENS] = self.tokens
        app[METRICS] = self.metrics
        app[CLAIM_LEASE] = self.claim_lease
        app[MAX_BATCH_BODY] = self.max_batch_body
        app[DEADLINES] = self.deadlines
        app[BATCH_READING] = anyio.CapacityLimiter(1)
        app.add_routes(probe_routes(self.metrics.registry, self.readiness, self._refresh))
        app.add_routes(document_routes(TABLE))
        app.add_routes([route.definition() for route in TABLE])
        return app

    async def readiness(self) -> str | None:
        """Why requests cannot be served, or None."""
        return "the server is stopping" if self.stopping else await database_readiness(self.probe_database)

    async def _refresh(self) -> None:
        """Bring the gauges of the tables up to date, unless they are fresh; without a database they stay."""
        if time.monotonic() - self._stats_at < STATS_SECONDS:
            return
        self._stats_at = time.monotonic()
        try:
            with anyio.fail_after(STATS_PATIENCE_SECONDS):
                self.metrics.jobs(await self.probe_database.stats(), await self.probe_database.queues())
        except Exception as error:  # noqa: BLE001 - a scrape must not fail with the database
            logger.warning("metrics of the tables are stale: %s", type(error).__name__)
