"""PostgreSQL as aiserv sees it: one method for each function of `sql/`, and no other SQL in Python."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, Self
from uuid import UUID

from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from aiserv.listener import KEEPALIVES
from aiserv.models import (
    CancelJob,
    ClaimJobs,
    CompleteJob,
    CreateJob,
    FailJob,
    HeartbeatJob,
    Job,
    ListJobs,
    ReleaseJob,
    Settlement,
    parse_time,
)
from aiserv.migrate import sql_files

# A job as PostgreSQL rendered it: passed on unparsed.
JobJson = str

POOL_TIMEOUT_SECONDS: Final = 5


@dataclass(frozen=True)
class Claimer:
    """Who claims, and what: one start of a built-in worker."""

    worker_id: str
    instance_id: UUID
    task_types: list[str]
    model_profiles: list[str]
    lease: timedelta
    slots: int


class Database:
    """The functions of schema `aiserv`, called through a pool of connections.

    Refusals are psycopg errors with an SQLSTATE of ours (`aiserv.problems`).
    """

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(
        cls, conninfo: str, *, size: int, name: str, statement_timeout: timedelta = timedelta(seconds=60)
    ) -> AsyncIterator[Self]:
        """A pool of up to `size` connections, each statement bounded by `statement_timeout`.

        Database time is bounded by the server and not by cancelling: a cancelled query costs its connection.
        PostgreSQL need not be up yet: calls wait for it, up to 5 seconds each.
        """
        milliseconds = int(statement_timeout / timedelta(milliseconds=1))
        pool = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=size,
            timeout=POOL_TIMEOUT_SECONDS,
            open=False,
            name=name,
            kwargs={
                "autocommit": True,
                "application_name": name,
                "connect_timeout": 5,
                "options": f"-c statement_timeout={milliseconds}",
                **KEEPALIVES,
            },
        )
        async with pool:
            yield cls(pool)

    async def check(self) -> None:
        """Replace connections that have died, as after a restart of PostgreSQL."""
        await self._pool.check()

    async def create_job(self, body: str, job: CreateJob) -> tuple[JobJson, bool]:
        """The new job, or the one its idempotency key made before; and whether it is new."""
        row = await self._row(
            """
            select aiserv.job_json(job)::text, aiserv.created_here(job.id), job.id
            from aiserv.create_job(
                owner_service   => %(owner_service)s,
                owner_ref       => %(owner_ref)s,
                task_type       => %(task_type)s,
                model_profile   => %(model_profile)s,
                input           => coalesce(%(body)s::json -> 'input', '{}'),
                priority        => %(priority)s,
                run_at          => %(run_at)s,
                delay           => %(delay)s,
                max_attempts    => %(max_attempts)s,
                timeout_seconds => %(timeout_seconds)s,
                metadata        => coalesce(%(body)s::json -> 'metadata', '{}'),
                idempotency_key => %(idempotency_key)s,
                traceparent     => %(traceparent)s
            ) as job
            """,
            {"body": body, **job.parameters()},
        )
        return row[0], row[1]

    async def create_jobs(self, body: str, batch_id: UUID) -> list[tuple[UUID, JobJson, bool]]:
        """The jobs of a batch in input order: id, the job, and whether it is new.

        `body` is the text of a request: `jobs`, over `defaults`, over the fields beside them.
        """
        return await self._rows(
            """
            select job.id, aiserv.job_json(job)::text, job.batch_id is not distinct from %(batch_id)s
            from (select %(body)s::json as body) as request
            cross join lateral (
                select nullif(aiserv.merge_jobs(
                    (
                        select coalesce(json_object_agg(field.key, field.value), '{}')
                        from json_each(request.body) as field
                        where field.key not in ('jobs', 'defaults')
                    ),
                    coalesce(request.body -> 'defaults', '{}')
                )::text, '{}')::json as defaults
            ) as shared
            cross join lateral aiserv.create_jobs(
                jobs => request.body -> 'jobs', defaults => shared.defaults, batch_id => %(batch_id)s
            ) as job
            """,
            {"body": body, "batch_id": batch_id},
        )

    async def new_id(self) -> UUID:
        return (await self._row("select aiserv.new_id()"))[0]  # type: ignore[no-any-return]  # a uuid column

    async def get_job(self, job_id: UUID) -> JobJson:
        return await self._text(
            "select aiserv.job_json(job)::text from aiserv.get_job(job_id => %(job_id)s) as job", {"job_id": job_id}
        )

    async def list_jobs(self, query: ListJobs) -> list[tuple[UUID, JobJson]]:
        """Up to `query.limit` jobs and one more, if there is one: a sign that another page follows."""
        return await self._rows(
            """
            select job.id, aiserv.job_json(job, summary => %(fields)s = 'summary')::text
            from aiserv.list_jobs(
                id => %(id)s, owner_service => %(owner_service)s, owner_ref => %(owner_ref)s, task_type => %(task_type)s,
                model_profile => %(model_profile)s, status => %(status)s, error_category => %(error_category)s,
                worker_id => %(worker_id)s, batch_id => %(batch_id)s, created_after => %(created_after)s,
                created_before => %(created_before)s, max_jobs => %(limit)s + 1, sort => %(order)s, after => %(cursor)s
            ) as job
            """,
            {**query.parameters(), "fields": query.fields or ""},
        )

    async def list_attempts(self, job_id: UUID) -> str:
        """The attempts of a job, as a JSON array."""
        return await self._text(
            """
            select coalesce(json_agg(json_build_object(
                'attempt', attempt.attempt,
                'worker_id', attempt.worker_id,
                'started_at', aiserv.time_text(attempt.started_at),
                'finished_at', aiserv.time_text(attempt.finished_at),
                'outcome', attempt.outcome,
                'error_category', attempt.error_category,
                'error_message', attempt.error_message
            ) order by attempt.attempt), '[]')::text
            from aiserv.list_attempts(job_id => %(job_id)s) as attempt
            """,
            {"job_id": job_id},
        )

    async def get_batch(self, batch_id: UUID) -> str:
        return await self._text("select aiserv.get_batch(batch_id => %(batch_id)s)::text", {"batch_id": batch_id})

    async def claim_jobs(self, claim: ClaimJobs, lease: timedelta) -> list[JobJson]:
        """Jobs for a worker over HTTP."""
        rows = await self._rows(
            """
            select aiserv.job_json(job)::text
            from aiserv.claim_jobs(
                worker_id      => %(worker_id)s,
                task_types     => %(task_types)s,
                model_profiles => %(model_profiles)s,
                max_jobs       => %(limit)s,
                lease          => %(lease)s,
                claim_id       => %(claim_id)s
            ) as job
            """,
            {**claim.parameters(), "lease": claim.lease or lease},
        )
        return [row[0] for row in rows]

    async def claim(self, claimer: Claimer, limit: int) -> tuple[list[Job], float | None]:
        """Jobs for a built-in worker, and in how many seconds it should look again though nobody wakes it."""
        row = await self._row(
            """
            select
                (
                    select json_agg(aiserv.job_json(job))::text
                    from aiserv.claim_jobs(
                        worker_id      => %(worker_id)s,
                        task_types     => %(task_types)s,
                        model_profiles => %(model_profiles)s,
                        max_jobs       => %(limit)s,
                        lease          => %(lease)s,
                        instance_id    => %(instance_id)s,
                        slots          => %(slots)s
                    ) as job
                ),
                aiserv.seconds_until(aiserv.next_wake(task_types => %(task_types)s, model_profiles => %(model_profiles)s))
            """,
            {
                "worker_id": claimer.worker_id,
                "instance_id": claimer.instance_id,
                "task_types": claimer.task_types,
                "model_profiles": claimer.model_profiles,
                "lease": claimer.lease,
                "slots": claimer.slots,
                "limit": limit,
            },
        )
        return [_job(shown) for shown in json.loads(row[0] or "[]")], row[1]

    async def complete_job(self, job_id: UUID, body: str, completed: CompleteJob) -> JobJson:
        return await self._text(
            """
            select aiserv.job_json(job)::text
            from aiserv.complete_job(
                job_id    => %(job_id)s,
                result    => %(body)s::json -> 'result',
                attempt   => %(attempt)s,
                worker_id => %(worker_id)s,
                usage     => nullif((%(body)s::json -> 'usage')::text, 'null')::json
            ) as job
            """,
            {"job_id": job_id, "body": body, "attempt": completed.attempt, "worker_id": completed.worker_id},
        )

    async def fail_job(self, job_id: UUID, body: str, failed: FailJob) -> JobJson:
        return await self._text(
            """
            select aiserv.job_json(job)::text
            from aiserv.fail_job(
                job_id      => %(job_id)s,
                category    => %(category)s,
                message     => %(message)s,
                attempt     => %(attempt)s,
                worker_id   => %(worker_id)s,
                retryable   => %(retryable)s,
                retry_after => %(retry_after)s,
                usage       => nullif((%(body)s::json -> 'usage')::text, 'null')::json
            ) as job
            """,
            {**failed.parameters(), "job_id": job_id, "body": body, "usage": None},
        )

    async def heartbeat_job(self, job_id: UUID, body: str, heartbeat: HeartbeatJob) -> JobJson:
        return await self._text(
            """
            select aiserv.job_json(job)::text
            from aiserv.heartbeat_job(
                job_id    => %(job_id)s,
                attempt   => %(attempt)s,
                worker_id => %(worker_id)s,
                lease     => %(lease)s,
                progress  => %(body)s::json -> 'progress'
            ) as job
            """,
            {
                "job_id": job_id,
                "body": body,
                "attempt": heartbeat.attempt,
                "worker_id": heartbeat.worker_id,
                "lease": heartbeat.lease,
            },
        )

    async def release_job(self, job_id: UUID, released: ReleaseJob) -> JobJson:
        return await self._text(
            """
            select aiserv.job_json(job)::text
            from aiserv.release_job(
                job_id => %(job_id)s, attempt => %(attempt)s, worker_id => %(worker_id)s, delay => %(delay)s
            ) as job
            """,
            {"job_id": job_id, **released.parameters()},
        )

    async def retry_job(self, job_id: UUID) -> JobJson:
        return await self._text(
            "select aiserv.job_json(job)::text from aiserv.retry_job(job_id => %(job_id)s) as job", {"job_id": job_id}
        )

    async def cancel_job(self, job_id: UUID, cancelled: CancelJob) -> JobJson:
        return await self._text(
            """
            select aiserv.job_json(job)::text
            from aiserv.cancel_job(job_id => %(job_id)s, reason => %(reason)s) as job
            """,
            {"job_id": job_id, **cancelled.parameters()},
        )

    async def settle_jobs(self, settlements: Sequence[str]) -> list[Settlement]:
        """What became of each settlement, given as JSON text as `aiserv.settle_jobs` describes it, in order."""
        rows = await self._rows(
            """
            select settled.id, settled.status, settled.code, settled.detail
            from aiserv.settle_jobs(settlements => %(settlements)s::json) as settled
            """,
            {"settlements": f"[{','.join(settlements)}]"},
        )
        return [Settlement(*row) for row in rows]

    async def heartbeat_jobs(self, held: dict[UUID, int], lease: timedelta) -> dict[UUID, datetime]:
        """Renew the leases of these jobs, given with their attempts; returns those still held, and until when."""
        rows = await self._rows(
            """
            select job.id, job.lease_expires_at
            from aiserv.heartbeat_jobs(job_ids => %(job_ids)s, attempts => %(attempts)s, lease => %(lease)s) as job
            """,
            {"job_ids": list(held), "attempts": list(held.values()), "lease": lease},
        )
        return dict(rows)

    async def sweep(self, retention: timedelta) -> float | None:
        """Recover, promote, fold and prune; returns in how many seconds to come again at the latest."""
        row = await self._row(
            "select aiserv.seconds_until(aiserv.sweep(retention => %(retention)s))", {"retention": retention}
        )
        return row[0]  # type: ignore[no-any-return]  # a column of floats

    async def stats(self) -> dict[str, Any]:
        """The numbers of the whole installation, as `aiserv.stats` gives them."""
        return json.loads(await self._text("select aiserv.stats()::text"))  # type: ignore[no-any-return]  # an object

    async def queues(self) -> list[dict[str, Any]]:
        """The queues as `aiserv.list_queues` gives them: `model_profile`, `task_type` and `paused` of each."""
        rows = await self._rows("select model_profile, task_type, paused from aiserv.list_queues()")
        return [{"model_profile": row[0], "task_type": row[1], "paused": row[2]} for row in rows]

    async def missing_migrations(self) -> list[str]:
        """The migrations that this version knows and the schema has not had; raises psycopg.Error without a schema."""
        rows = await self._rows("select file from aiserv.installed_files() as file")
        installed = {row[0] for row in rows}
        return [name for name, file in sql_files().items() if file.runs_once and name not in installed]

    async def _text(self, query: LiteralString, parameters: dict[str, Any] | None = None) -> str:
        return (await self._row(query, parameters))[0]  # type: ignore[no-any-return]  # a text column

    async def _row(self, query: LiteralString, parameters: dict[str, Any] | None = None) -> TupleRow:
        (row,) = await self._rows(query, parameters)
        return row

    async def _rows(self, query: LiteralString, parameters: dict[str, Any] | None = None) -> list[TupleRow]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, parameters)
            return await cursor.fetchall()


def _job(shown: dict[str, Any]) -> Job:
    return Job(
        id=UUID(shown["id"]),
        owner_service=shown["owner_service"],
        task_type=shown["task_type"],
        model_profile=shown["model_profile"],
        attempt=shown["attempt"],
        timeout_seconds=shown["timeout_seconds"],
        traceparent=shown["traceparent"],
        input=shown["input"],
        run_at=parse_time(shown["run_at"]),
        started_at=parse_time(shown["started_at"]),
        lease_expires_at=parse_time(shown["lease_expires_at"]),
    )
