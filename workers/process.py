"""A worker process: what it opens, what runs in it, and how it drains."""

import logging
from contextlib import AsyncExitStack
from datetime import timedelta

import anyio
from anyio.abc import TaskStatus

from aiserv.database import Database
from aiserv.metrics import WorkerMetrics
from aiserv.serving import serving
from aiserv.settings import Settings, SettingsError
from workers.executors.chat import Chat
from workers.executors.observed import observed
from workers.status import status_application
from workers.worker import Worker

logger = logging.getLogger(__name__)

# After the time to finish is over, jobs are given back: that takes a statement each.
RELEASE_SECONDS = 5.0


async def work(
    settings: Settings, stop: anyio.Event, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Work off chat jobs until `stop` is set, then drain. Started with the port of its status.

    Raises SettingsError without LLM_BASE_URL: nothing must leave for an address that nobody configured.
    """
    llm = settings.llm
    if llm.base_url is None:
        raise SettingsError("LLM_BASE_URL: must be set to the URL of an OpenAI-compatible server")

    metrics = WorkerMetrics()
    slots = settings.worker.claim_limit
    async with AsyncExitStack() as stack:
        api_key = llm.api_key.get_secret_value() if llm.api_key else None
        chat = await stack.enter_async_context(
            Chat(base_url=llm.base_url, api_key=api_key, model=llm.model, timeout=llm.timeout)
        )
        pool_size = min(slots, settings.database.pool_size)
        worker = Worker(
            worker_id=settings.worker.id,
            task_types=list(chat.task_types),
            model_profiles=[llm.model],
            execute=observed("llm", chat, metrics),
            database=await stack.enter_async_context(
                Database.open(settings.database.url, size=max(pool_size, 2), name="aiserv worker")
            ),
            lease_database=await stack.enter_async_context(
                Database.open(
                    settings.database.url, size=1, name="aiserv leases", statement_timeout=timedelta(seconds=10)
                )
            ),
            metrics=metrics,
            slots=slots,
            poll_interval=settings.worker.poll_interval.total_seconds(),
            lease=settings.worker.lease_timeout,
        )
        port = await stack.enter_async_context(
            serving(
                status_application(worker, settings.worker),
                settings.worker.http_host,
                settings.worker.http_port,
                shutdown_timeout=timedelta(seconds=1),
            )
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.listen(settings.database.listen_url).run)
            tasks.start_soon(_drain_when_stopped, worker, stop, settings.worker.shutdown_timeout.total_seconds())
            logger.info("worker %s takes %s for %s, status on port %s", worker.worker_id, worker.task_types, llm.model, port)
            task_status.started(port)
            await worker.run()
            tasks.cancel_scope.cancel()
    logger.info("stopped: %s completed, %s failed, %s released", worker.counts.completed, worker.counts.failed, worker.counts.released)


async def _drain_when_stopped(worker: Worker, stop: anyio.Event, seconds: float) -> None:
    await stop.wait()
    worker.drain()
    logger.info("draining: %s jobs in flight may finish within %s seconds", len(worker.attempts), seconds)
    await anyio.sleep(seconds)
    worker.release_all()
    await anyio.sleep(RELEASE_SECONDS)
    # PostgreSQL is away, too: leases run out by themselves.
    worker.abandon()
