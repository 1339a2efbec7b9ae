"""A worker process: what it opens, what runs in it, and how it drains."""

import logging
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

import anyio
from anyio.abc import TaskStatus

from aiserv.database import Database, passwords
from aiserv.metrics import WorkerMetrics
from aiserv.serving import serving
from aiserv.settings import Settings, SettingsError
from workers.executors.chat import Chat
from workers.executors.observed import observed
from workers.status import status_application
from workers.worker import Worker

logger = logging.getLogger(__name__)

# After the time to finish is over, jobs are given back: that takes a statement each.
RELEASE_SECONDS: Final = 5.0
LEASE_STATEMENT_TIMEOUT: Final = timedelta(seconds=10)


def llm_base_url(settings: Settings) -> str:
    """Where chat jobs go. Raises SettingsError without LLM_BASE_URL: nothing leaves for where nobody said."""
    if settings.llm.base_url is None:
        raise SettingsError("LLM_BASE_URL: must be set to the URL of an OpenAI-compatible server")
    return settings.llm.base_url


async def work(
    settings: Settings, stop: anyio.Event, *, task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Work off chat jobs until `stop` is set, then drain. Started with the port of its status.

    Raises SettingsError without DATABASE_URL or LLM_BASE_URL, and ServingError when the port cannot be listened on.
    """
    host, port = settings.worker.http_host, settings.worker.http_port
    async with AsyncExitStack() as stack:
        worker = await _open_worker(settings, stack)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        status = status_application(worker, settings.worker)
        async with serving(status, host, port, shutdown_timeout=timedelta(seconds=1)) as bound_port:
            tasks.start_soon(worker.listen(settings.database.listen_url).run)
            tasks.start_soon(_drain_when_stopped, worker, stop, settings.worker.shutdown_timeout.total_seconds())
            logger.info(
                "worker %s takes %s for %s, status on port %s",
                worker.worker_id, ", ".join(worker.task_types), ", ".join(worker.model_profiles), bound_port,
            )  # fmt: skip
            task_status.started(bound_port)
            await worker.run()
        tasks.cancel_scope.cancel()
    logger.info(
        "stopped: %s", ", ".join(f"{count} {end}" for end, count in worker.record.ends.items()) or "no attempts"
    )


async def _open_worker(settings: Settings, stack: AsyncExitStack) -> Worker:
    llm, url = settings.llm, settings.database.url
    metrics = WorkerMetrics()
    slots = settings.worker.claim_limit
    api_key = llm.api_key.get_secret_value() if llm.api_key else None
    chat = await stack.enter_async_context(
        Chat(base_url=llm_base_url(settings), api_key=api_key, model=llm.model, timeout=llm.timeout)
    )
    # One connection claims, one settles; more only for releases.
    size = max(min(slots, settings.database.pool_size), 2)
    database = await stack.enter_async_context(Database.open(url, size=size, name="aiserv worker"))
    lease_database = await stack.enter_async_context(
        Database.open(url, size=1, name="aiserv worker leases", statement_timeout=LEASE_STATEMENT_TIMEOUT)
    )
    return Worker(
        worker_id=settings.worker.id,
        task_types=list(chat.task_types),
        model_profiles=[llm.model],
        execute=observed("llm", chat, metrics),
        database=database,
        lease_database=lease_database,
        metrics=metrics,
        slots=slots,
        poll_interval=settings.worker.poll_interval.total_seconds(),
        lease=settings.worker.lease_timeout,
        secrets=[*([api_key] if api_key else []), *passwords(url)],
        patience=settings.worker.provider_patience,
    )


async def _drain_when_stopped(worker: Worker, stop: anyio.Event, seconds: float) -> None:
    await stop.wait()
    worker.drain()
    logger.info("draining: %s jobs in flight may finish within %s seconds", len(worker.attempts), seconds)
    await anyio.sleep(seconds)
    worker.release_all()
    await anyio.sleep(RELEASE_SECONDS)
    # PostgreSQL is away, too: leases run out by themselves.
    worker.abandon()
