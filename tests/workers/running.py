"""Real workers in a test, and the jobs they work off."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import psycopg
from aiohttp import web
from psycopg.rows import DictRow
from pydantic import JsonValue

from aiserv.database import Database
from aiserv.metrics import WorkerMetrics
from aiserv.models import Job
from aiserv.queries.work import Claimer
from tests.providers import Answer
from tests.waiting import SOON, until
from workers.executors import Executor, Outcome
from workers.failures import Failure
from workers.worker import Worker

Db = psycopg.Connection[DictRow]
Hook = Callable[[], Awaitable[None]]

NOWHERE = "http://127.0.0.1:9/v1"  # nobody listens there
NEVER = 3600.0  # seconds, as an interval of polls
# Without the input, which Python may not be able to read.
SHOWN = (
    "status, attempt, failures, worker_id, run_at, started_at, lease_expires_at, result, usage,"
    " error_category, error_message"
)


class Meddler(Database):
    """A database where a test can step in between an answer of PostgreSQL and the worker that waits for it."""

    after_claim: Hook | None = None
    after_renewal: Hook | None = None
    claims = 0

    async def claim(self, claimer: Claimer, limit: int, *, is_known: bool = False) -> tuple[list[Job], float | None]:
        self.claims += 1
        claimed = await super().claim(claimer, limit, is_known=is_known)
        await _call_once(self, "after_claim")
        return claimed

    async def heartbeat_jobs(self, held: dict[UUID, int], lease: timedelta) -> dict[UUID, datetime]:
        kept = await super().heartbeat_jobs(held, lease)
        await _call_once(self, "after_renewal")
        return kept


async def _call_once(meddler: Meddler, name: str) -> None:
    hook: Hook | None = getattr(meddler, name)
    if hook:
        setattr(meddler, name, None)
        await hook()


@asynccontextmanager
async def running(
    conninfo: str,
    execute: Executor,
    *,
    listen: str | None = "",
    **options: Any,  # noqa: ANN401 - fields of Worker
) -> AsyncIterator[Worker]:
    """A worker for `qwen` that never polls; it hears over `listen`, or is deaf when that is None."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Meddler.open(conninfo, size=4, name="aiserv worker"))
        claims = await stack.enter_async_context(Meddler.open(conninfo, size=1, name="aiserv worker claims"))
        leases = await stack.enter_async_context(Meddler.open(conninfo, size=1, name="aiserv worker leases"))
        worker = Worker(
            **{
                "worker_id": "worker-1",
                "task_types": ["llm_chat"],
                "model_profiles": ["qwen"],
                "execute": execute,
                "database": database,
                "claim_database": claims,
                "lease_database": leases,
                "metrics": WorkerMetrics(),
                "poll_interval": NEVER,
                **options,
            }
        )
        async with anyio.create_task_group() as tasks:
            if listen is not None:
                listener = worker.listen(listen or conninfo)
                tasks.start_soon(listener.run)
                if not listen:
                    await until(lambda: listener.connected)
            tasks.start_soon(worker.run)
            await until(lambda: worker.record.last_claim_at is not None)
            yield worker
            tasks.cancel_scope.cancel()


def meddler(database: Database) -> Meddler:
    assert isinstance(database, Meddler)
    return database


async def heard(worker: Worker, act: Callable[[], object]) -> None:
    """Act, and wait until the worker has heard of it."""
    assert worker.listener
    before = worker.listener.last_notification_at
    act()
    await until(lambda: worker.listener and worker.listener.last_notification_at != before)


async def say_hello(_job: Job) -> Outcome:
    return Outcome({"content": "Hello."}, None)


async def never(_job: Job) -> Outcome:
    await anyio.sleep_forever()
    raise AssertionError


def raises(failure: Failure) -> Executor:
    async def execute(_job: Job) -> Outcome:
        raise failure

    return execute


def create(db: Db, job_input: JsonValue | str = "{}", **fields: object) -> UUID:
    """A new job for `qwen`; its input may be given as JSON text."""
    given = {
        "owner_service": "telephony",
        "task_type": "llm_chat",
        "model_profile": "qwen",
        "input": job_input if isinstance(job_input, str) else json.dumps(job_input),
        **fields,
    }
    arguments = ", ".join(f"{name} => %({name})s" for name in given)
    row = db.execute(f"select id from aiserv.create_job({arguments})", given).fetchone()
    assert row
    id_: UUID = row["id"]
    return id_


def job(db: Db, job_id: UUID) -> DictRow:
    row = db.execute(f"select {SHOWN} from aiserv.jobs where id = %s", [job_id]).fetchone()
    assert row
    return row


async def finished(db: Db, job_id: UUID, seconds: float = SOON) -> DictRow:
    """The job, as soon as it is in a final state."""
    await until(lambda: job(db, job_id)["status"] in {"completed", "failed", "cancelled"}, seconds)
    return job(db, job_id)


def after(event: anyio.Event, answer: Answer) -> Answer:
    """A provider's answer that waits for an event."""

    async def reply(request: web.Request) -> web.StreamResponse:
        await event.wait()
        return await answer.reply(request)

    return Answer(reply)
