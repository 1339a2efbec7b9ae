"""A server process: what it opens, what runs in it, and in which order it stops."""

import logging
from contextlib import AsyncExitStack

import anyio
from anyio.abc import TaskStatus

from aiserv.api.app import Server
from aiserv.database import Database
from aiserv.listener import Listener
from aiserv.metrics import ServerMetrics
from aiserv.serving import serving
from aiserv.settings import Settings
from aiserv.sweeper import Sweeper

logger = logging.getLogger(__name__)


async def serve(
    settings: Settings, stop: anyio.Event, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Serve the API until `stop` is set: readiness goes first, requests in flight finish. Started with the port."""
    tokens = [token.get_secret_value() for token in settings.server.ai_service_token]
    if not tokens:
        logger.warning("AI_SERVICE_TOKEN is not set: whoever reaches the port may use the API")

    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(
            Database.open(settings.database.url, size=settings.database.pool_size, name="aiserv serve")
        )
        metrics = ServerMetrics()
        server = Server(
            database,
            metrics,
            claim_lease=settings.worker.lease_timeout,
            tokens=tokens,
            max_body=settings.server.http_max_body,
            max_batch_body=settings.server.http_max_batch_body,
        )
        sweeper = Sweeper(database, settings.server.job_retention)
        async with anyio.create_task_group() as tasks:
            listener = Listener(
                settings.database.listen_url,
                {"aiserv_scheduled": sweeper.wake},
                on_connect=sweeper.wake,
                on_disconnect=lambda: tasks.start_soon(database.check),
            )
            metrics.listener(lambda: listener.connected)
            tasks.start_soon(listener.run)
            tasks.start_soon(sweeper.run)
            port = await stack.enter_async_context(
                serving(
                    server.application(),
                    settings.server.http_host,
                    settings.server.http_port,
                    shutdown_timeout=settings.server.http_shutdown_timeout,
                )
            )
            logger.info("serving on port %s", port)
            task_status.started(port)
            await stop.wait()
            server.stopping = True
            logger.info("stopping: requests in flight may finish")
            await stack.aclose()
            tasks.cancel_scope.cancel()
    logger.info("stopped")
