"""A server process: what it opens, what runs in it, and in which order it stops."""

import logging

import aiohttp
import anyio
from anyio.abc import TaskStatus

from aiserv.api.app import Server
from aiserv.database import Caps, Database
from aiserv.http.serving import USUAL_DEADLINES, Deadlines, serving
from aiserv.infra import InfraStatus
from aiserv.listener import Listener
from aiserv.metrics import ServerMetrics
from aiserv.providers_status import ProvidersStatus, work_of
from aiserv.settings import Settings
from aiserv.sweeper import Sweeper
from aiserv.tokens import Tokens

logger = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    stop: anyio.Event,
    deadlines: Deadlines = USUAL_DEADLINES,
    *,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the API until `stop` is set: readiness goes first, requests in flight finish. Started with the port.

    Raises SettingsError without DATABASE_URL or for a bad file of tokens, and ServingError when the port cannot be
    listened on.
    """
    host, port = settings.server.http_host, settings.server.http_port
    shutdown_timeout = settings.server.http_shutdown_timeout
    tokens = _tokens(settings)
    metrics = ServerMetrics()
    async with (
        Database.open(
            settings.database.url,
            size=settings.database.pool_size,
            name="aiserv serve",
            caps=Caps(settings.server.max_pending, settings.server.max_pending_per_owner),
        ) as database,
        Database.open(settings.database.url, size=2, name="aiserv serve probes") as probe_database,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar()
        ) as http,
        anyio.create_task_group() as tasks,
    ):
        sweeper = Sweeper(database, settings.server.job_retention)
        server = Server(
            database,
            probe_database,
            metrics,
            ProvidersStatus(settings, http, work_of(settings, database)),
            InfraStatus(settings.infrastructure, http),
            claim_lease=settings.worker.lease_timeout,
            tokens=tokens,
            max_body=settings.server.http_max_body,
            max_batch_body=settings.server.http_max_batch_body,
            deadlines=deadlines,
        )

        listener = _listener(settings.database.listen_url, server, sweeper)
        metrics.listener(lambda: listener.connected)
        metrics.resources(database.connections)
        async with serving(
            server.application(), host, port, shutdown_timeout=shutdown_timeout, deadlines=deadlines
        ) as bound_port:
            tasks.start_soon(listener.run)
            tasks.start_soon(sweeper.run)
            tasks.start_soon(server.finished.run)
            tasks.start_soon(server.creates.run)
            tasks.start_soon(server.settlements.run)
            logger.info("serving on port %s", bound_port)
            task_status.started(bound_port)
            await stop.wait()
            server.stop()
            logger.info("stopping: requests in flight may finish")
        tasks.cancel_scope.cancel()
    logger.info("stopped")


def _tokens(settings: Settings) -> Tokens:
    tokens = Tokens(
        [token.get_secret_value() for token in settings.server.ai_service_token], settings.server.ai_service_tokens_file
    )
    if tokens.is_open:
        logger.warning(
            "neither AI_SERVICE_TOKEN nor AI_SERVICE_TOKENS_FILE is set: whoever reaches the port may use the API"
        )
    return tokens


def _listener(conninfo: str, server: Server, sweeper: Sweeper) -> Listener:
    def hear_scheduled(model_profile: str) -> None:
        sweeper.wake()
        server.claims.hear(model_profile)

    def look() -> None:
        sweeper.wake()
        server.look()

    async def reconnect() -> None:
        await server.database.reconnect()
        await server.probe_database.reconnect()

    return Listener(
        conninfo,
        {**server.heard(), "aiserv_scheduled": hear_scheduled},
        name="aiserv serve listener",
        on_connect=look,
        on_disconnect=reconnect,
    )
