"""A worker process: what it opens, what runs in it, and how it drains."""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeAlias

import anyio
from anyio.abc import TaskStatus

from aiserv.database import Database, passwords
from aiserv.http.serving import serving
from aiserv.metrics import WorkerMetrics
from aiserv.models import Job
from aiserv.settings import Settings, SettingsError
from workers.executors import Executor, Outcome
from workers.executors.chat import Chat
from workers.executors.observed import observed
from workers.executors.pauses import pauses_of
from workers.executors.reporting import reporting
from workers.status import status_application
from workers.worker import Worker

logger = logging.getLogger(__name__)

# After the time to finish is over, jobs are given back: that takes a statement each.
RELEASE_SECONDS: Final = 5.0
# What is refused in time is tried again, a group of settlements in halves. A lease not renewed soon is lost.
STATEMENT_TIMEOUT: Final = timedelta(seconds=10)
# Somebody who holds one job must not hold up the settlements of others.
LOCK_TIMEOUT: Final = timedelta(milliseconds=500)


@dataclass(frozen=True)
class Work:
    """What a worker takes, what it does with it, and which secrets it must keep while doing so.

    `providers` and `queues` are those of `workers.worker.Worker`.
    """

    task_types: list[str]
    model_profiles: list[str]
    execute: Executor
    secrets: list[str]
    providers: dict[str, list[str]] = field(default_factory=dict)
    queues: dict[str, list[str]] = field(default_factory=dict)


# Opens what the work needs; the stack closes it when the worker has ended.
OpenWork: TypeAlias = Callable[[AsyncExitStack, Database, WorkerMetrics], Awaitable[Work]]


class Kind(StrEnum):
    """Kinds of work: a process does one or both."""

    LLM = "llm"
    TRANSCRIPTION = "transcription"


def choose_kinds(settings: Settings, named: Sequence[str]) -> list[Kind]:
    """The kinds of work that are named, or without a name all that are configured.

    Raises SettingsError when one is not configured (nothing leaves for where nobody said), or none is.
    """
    missing = {
        Kind.LLM: None
        if settings.llm.base_url is not None
        else "LLM_BASE_URL: must be set to the URL of an OpenAI-compatible server",
        Kind.TRANSCRIPTION: None
        if settings.transcription.configured
        else "WHISPERX_URL, QWEN_AUDIO_BASE_URL or VOXTRAL_BASE_URL: one must be set",
    }
    kinds = [kind for kind in Kind if kind in named] or [kind for kind in Kind if missing[kind] is None] or list(Kind)
    if said := "; ".join(why for kind in kinds if (why := missing[kind])):
        raise SettingsError(said)
    return kinds


async def work(
    settings: Settings,
    stop: anyio.Event,
    kinds: Sequence[str] = (),
    *,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Work off the jobs of these kinds until `stop` is set, then drain. Started with the port of its status.

    Raises SettingsError as `choose_kinds` does and without DATABASE_URL, and ServingError when the port cannot be
    listened on.
    """
    openers = {Kind.LLM: _chat, Kind.TRANSCRIPTION: _transcription}
    chosen = choose_kinds(settings, kinds)

    async def open_work(stack: AsyncExitStack, database: Database, metrics: WorkerMetrics) -> Work:
        return _joined([await openers[kind](settings, stack, database, metrics) for kind in chosen])

    await run_worker(open_work, settings, stop, task_status=task_status)


async def run_worker(
    open_work: OpenWork,
    settings: Settings,
    stop: anyio.Event,
    *,
    task_status: TaskStatus[int] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Do this work until `stop` is set, then drain; as `work`."""
    host, port = settings.worker.http_host, settings.worker.http_port
    async with AsyncExitStack() as stack:
        worker = await _open_worker(settings, open_work, stack)
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


async def _open_worker(settings: Settings, open_work: OpenWork, stack: AsyncExitStack) -> Worker:
    url, slots = settings.database.url, settings.worker.claim_limit
    metrics = WorkerMetrics()
    # One connection settles, more are for releases.
    size = min(slots, settings.database.pool_size)
    database = await stack.enter_async_context(
        Database.open(
            url, size=size, name="aiserv worker", statement_timeout=STATEMENT_TIMEOUT, lock_timeout=LOCK_TIMEOUT
        )
    )
    claim_database = await stack.enter_async_context(Database.open(url, size=1, name="aiserv worker claims"))
    lease_database = await stack.enter_async_context(
        Database.open(url, size=1, name="aiserv worker leases", statement_timeout=STATEMENT_TIMEOUT)
    )
    metrics.resources(database.connections)
    opened = await open_work(stack, database, metrics)
    return Worker(
        worker_id=settings.worker.id,
        task_types=opened.task_types,
        model_profiles=opened.model_profiles,
        execute=opened.execute,
        database=database,
        claim_database=claim_database,
        lease_database=lease_database,
        metrics=metrics,
        slots=slots,
        poll_interval=settings.worker.poll_interval.total_seconds(),
        lease=settings.worker.lease_timeout,
        secrets=[*opened.secrets, *passwords(url)],
        providers=opened.providers,
        queues=opened.queues,
        patience=settings.worker.provider_patience,
    )


def _joined(kinds: Sequence[Work]) -> Work:
    """Work of several kinds as one; no two kinds have a task type in common."""
    if len(kinds) == 1:
        return kinds[0]
    executors = {task_type: one.execute for one in kinds for task_type in one.task_types}
    # Of the pairs that their lists make, some belong to none of them: another worker may serve those.
    queues: defaultdict[str, list[str]] = defaultdict(list)
    for one in kinds:
        for profile in one.model_profiles:
            queues[profile] += one.task_types

    async def execute(job: Job) -> Outcome:
        return await executors[job.task_type](job)

    return Work(
        list(executors),
        list(queues),
        execute,
        [secret for one in kinds for secret in one.secrets],
        providers={profile: names for one in kinds for profile, names in one.providers.items()},
        queues=dict(queues),
    )


async def _chat(settings: Settings, stack: AsyncExitStack, _database: Database, metrics: WorkerMetrics) -> Work:
    llm = settings.llm
    api_key = llm.api_key.get_secret_value() if llm.api_key else None
    chat = await stack.enter_async_context(
        Chat(base_url=llm.base_url or "", api_key=api_key, model=llm.model, timeout=llm.timeout)
    )
    return Work(list(chat.task_types), [llm.model], observed("llm", chat, metrics), [api_key] if api_key else [])


async def _transcription(settings: Settings, stack: AsyncExitStack, database: Database, metrics: WorkerMetrics) -> Work:
    # Imported here: decoders and their processes are no business of a chat worker.
    from workers.executors.transcription import Transcription  # noqa: PLC0415

    transcription = await stack.enter_async_context(
        Transcription(settings.transcription, observe=metrics.provider_request, pauses=pauses_of(database))
    )
    execute = reporting(transcription, database)
    return Work(
        list(transcription.task_types),
        list(transcription.model_profiles),
        execute,
        settings.transcription.secrets,
        providers={"whisperx": list(settings.transcription.providers)},
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
