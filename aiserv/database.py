"""PostgreSQL as aiserv sees it: one method for each function of `sql/`, and no other SQL in Python."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString, Protocol, Self
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from aiserv.listener import KEEPALIVES
from aiserv.migrate import sql_files
from aiserv.models import Job, Settlement
from aiserv.problems import database_problem
from aiserv.queries.bulk import BulkQueries
from aiserv.queries.installation import InstallationQueries
from aiserv.queries.jobs import JobQueries
from aiserv.queries.overview import OverviewQueries
from aiserv.queries.transitions import TransitionQueries

# With the time in which a dead connection is noticed, as long as a client should wait to hear that it is no use.
POOL_TIMEOUT_SECONDS: Final = 4

# What every method raises when PostgreSQL refuses or cannot be reached.
DatabaseError = psycopg.Error


def is_unavailable(error: Exception) -> bool:
    """Whether PostgreSQL has a bad day: the same call may go well later."""
    problem = database_problem(error)
    return problem is not None and problem.code == "unavailable"


def is_of_one_row(error: Exception) -> bool:
    """Whether PostgreSQL refused a statement, and so undid it, for what may be the fault of one of its rows."""
    state = (isinstance(error, DatabaseError) and error.sqlstate) or ""
    return state.startswith(("40", "55")) or (state != "" and not is_unavailable(error))


def passwords(conninfo: str) -> list[str]:
    """The secret in a connection string, if there is one."""
    password = conninfo_to_dict(conninfo).get("password")
    return [str(password)] if password else []


@dataclass(frozen=True)
class Caps:
    """How many jobs may wait, in all and of one owner; None is any number."""

    pending: int | None = None
    pending_per_owner: int | None = None

    def session(self) -> dict[str, int]:
        """The settings of a session that tell PostgreSQL."""
        given = {"aiserv.max_pending": self.pending, "aiserv.max_pending_per_owner": self.pending_per_owner}
        return {name: most for name, most in given.items() if most is not None}


def _options(conninfo: str) -> str:
    """What the URL itself sets, which an argument would replace; a URL that makes no sense fails at the connection."""
    try:
        return str(conninfo_to_dict(conninfo).get("options", ""))
    except psycopg.ProgrammingError:
        return ""


async def why_unreachable(conninfo: str) -> str | None:
    """Why no connection can be made, in PostgreSQL's words, which hold no password; None if one can."""
    try:
        connection = await psycopg.AsyncConnection.connect(conninfo, connect_timeout=5, autocommit=True)
    except psycopg.Error as error:
        return " ".join(str(error).split())
    await connection.close()
    return None


@dataclass(frozen=True)
class Claimer:
    """Who claims, and what: one start of a built-in worker."""

    worker_id: str
    instance_id: UUID
    task_types: list[str]
    model_profiles: list[str]
    lease: timedelta
    slots: int
    # The providers of a model profile by its name; one that is not in it has one of the same name.
    providers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # The task types of a model profile by its name; one that is not in it goes with all of them.
    queues: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Trouble(Protocol):
    """What keeps a provider from working. `retry_after` is how long it asks to be left alone."""

    @property
    def category(self) -> str: ...

    @property
    def message(self) -> str: ...

    @property
    def retry_after(self) -> timedelta | None: ...


class Database(JobQueries, TransitionQueries, BulkQueries, OverviewQueries, InstallationQueries):
    """The functions of schema `aiserv`, called through a pool of connections.

    Refusals are psycopg errors with an SQLSTATE of ours (`aiserv.problems`).
    """

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        conninfo: str,
        *,
        size: int,
        name: str,
        statement_timeout: timedelta = timedelta(seconds=60),
        caps: Caps | None = None,
        flushed: bool = True,
    ) -> AsyncIterator[Self]:
        """A pool of up to `size` connections, each statement bounded by `statement_timeout`, each create by `caps`.

        Without `flushed` a commit does not wait for the disk: a crash of PostgreSQL may undo the latest ones.

        Database time is bounded by the server and not by cancelling: a cancelled query costs its connection.
        PostgreSQL need not be up yet: calls wait for it, up to 4 seconds each.
        """
        session = {
            "statement_timeout": int(statement_timeout / timedelta(milliseconds=1)),
            **(caps or Caps()).session(),
            **({} if flushed else {"synchronous_commit": "off"}),
        }
        pool = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=size,
            timeout=POOL_TIMEOUT_SECONDS,
            # Its pauses between attempts double until then: after an outage of minutes nobody waits for minutes more.
            reconnect_timeout=POOL_TIMEOUT_SECONDS,
            open=False,
            name=name,
            kwargs={
                "autocommit": True,
                "application_name": name,
                "connect_timeout": 5,
                "options": " ".join([_options(conninfo), *(f"-c {name}={value}" for name, value in session.items())]),
                **KEEPALIVES,
            },
        )
        async with pool:
            yield cls(pool)

    async def check(self) -> None:
        """Replace connections that have died, as after a restart of PostgreSQL."""
        await self._pool.check()

    async def claim(self, claimer: Claimer, limit: int) -> tuple[list[Job], float | None]:
        """Jobs for a built-in worker, and in how many seconds it should look again though nobody wakes it."""
        rows = await self._rows(
            """
            with claimed as materialized (
                select
                    job.id, job.owner_service, job.task_type, job.model_profile, job.attempt, job.timeout_seconds,
                    job.traceparent, job.input::text, job.run_at, job.started_at, job.lease_expires_at
                from aiserv.claim_jobs(
                    worker_id      => %(worker_id)s,
                    task_types     => %(task_types)s,
                    model_profiles => %(model_profiles)s,
                    max_jobs       => %(limit)s,
                    lease          => %(lease)s,
                    instance_id    => %(instance_id)s,
                    slots          => %(slots)s,
                    providers      => %(providers)s::jsonb,
                    queues         => %(queues)s::jsonb
                ) as job
            )
            select
                -- Who got all that it asked for comes again anyway.
                case when (select count(*) from claimed) < %(limit)s then (
                    select aiserv.seconds_until(
                        aiserv.next_wake(
                            task_types     => %(task_types)s,
                            model_profiles => %(model_profiles)s,
                            queues         => %(queues)s::jsonb
                        )
                    )
                ) end,
                claimed.*
            from (values (true)) as answer
            left join claimed on true
            """,
            {
                "worker_id": claimer.worker_id,
                "instance_id": claimer.instance_id,
                "task_types": claimer.task_types,
                "model_profiles": claimer.model_profiles,
                "lease": claimer.lease,
                "slots": claimer.slots,
                "providers": json.dumps(dict(claimer.providers)) if claimer.providers else None,
                "queues": json.dumps(dict(claimer.queues)) if claimer.queues else None,
                "limit": limit,
            },
            binary=True,
        )
        # The input stays a text: one that Python cannot parse must not cost its neighbours.
        return [Job(*job) for _, *job in rows if job[0] is not None], rows[0][0]

    async def settle_jobs(self, settlements: Sequence[str], instance_id: UUID | None = None) -> list[Settlement]:
        """What became of each settlement, given as JSON text as `aiserv.settle_jobs` describes it, in order.

        With `instance_id` only leases of that start of a worker are settled.
        """
        rows = await self._rows(
            """
            select settled.id, settled.status, settled.code, settled.detail
            from aiserv.settle_jobs(settlements => %(settlements)s::json, instance_id => %(instance_id)s) as settled
            """,
            {"settlements": f"[{','.join(settlements)}]", "instance_id": instance_id},
        )
        return [Settlement(*row) for row in rows]

    async def give_back(
        self,
        job: Job,
        instance_id: UUID,
        trouble: Trouble | None,
        patience: timedelta,
        delay: timedelta | None = None,
    ) -> str:
        """The status of the job given back: `failed` where the trouble of its provider outlasts the patience."""
        row = await self._row(
            """
            select job.status
            from aiserv.release_job(
                job_id      => %(job_id)s,
                attempt     => %(attempt)s,
                category    => %(category)s,
                message     => %(message)s,
                patience    => %(patience)s,
                delay       => %(delay)s,
                instance_id => %(instance_id)s
            ) as job
            """,
            {
                "job_id": job.id,
                "attempt": job.attempt,
                "category": trouble and trouble.category,
                "message": trouble and trouble.message,
                "patience": patience,
                "delay": delay,
                "instance_id": instance_id,
            },
        )
        return row[0]  # type: ignore[no-any-return]  # a column of texts

    async def report_provider(self, provider: str, trouble: Trouble, job: Job) -> None:
        """Say that a run of the job found the provider in trouble."""
        await self._row(
            """
            select aiserv.report_provider(
                provider    => %(provider)s,
                category    => %(category)s,
                message     => %(message)s,
                retry_after => %(retry_after)s,
                job_id      => %(job_id)s,
                attempt     => %(attempt)s
            )
            """,
            {
                "provider": provider,
                "category": trouble.category,
                "message": trouble.message,
                "retry_after": trouble.retry_after,
                "job_id": job.id,
                "attempt": job.attempt,
            },
        )

    async def resting_providers(self, job: Job) -> dict[str, tuple[str, float]]:
        """The providers that the job is to leave alone: the category of their trouble, and for how many seconds.

        Of those in trouble they are all but the ones that the job was sent to probe.
        """
        rows = await self._rows(
            """
            select provider.name, provider.category, aiserv.seconds_until(provider.paused_until)
            from aiserv.list_providers() as provider
            where provider.probe_job_id is distinct from %(job_id)s
            """,
            {"job_id": job.id},
        )
        return {name: (category, seconds) for name, category, seconds in rows}

    async def troubles(self) -> dict[str, str]:
        """The providers in trouble, and in a few words since when, until when and why."""
        rows = await self._rows(
            """
            select provider.name, provider.category, aiserv.time_text(provider.paused_until)
            from aiserv.list_providers() as provider
            """
        )
        return {name: f"{category} until {until}" for name, category, until in rows}

    async def heartbeat_jobs(
        self, held: dict[UUID, int], lease: timedelta, instance_id: UUID | None = None
    ) -> dict[UUID, datetime]:
        """Renew the leases of these jobs, given with their attempts; returns those still held, and until when."""
        rows = await self._rows(
            """
            select job.id, job.lease_expires_at
            from aiserv.heartbeat_jobs(
                job_ids => %(job_ids)s, attempts => %(attempts)s, lease => %(lease)s, instance_id => %(instance_id)s
            ) as job
            """,
            {"job_ids": list(held), "attempts": list(held.values()), "lease": lease, "instance_id": instance_id},
        )
        return dict(rows)

    async def sweep(self, retention: timedelta) -> float | None:
        """Recover, promote, fold and prune; returns in how many seconds to come again at the latest."""
        row = await self._row(
            "select aiserv.seconds_until(aiserv.sweep(retention => %(retention)s))", {"retention": retention}
        )
        return row[0]  # type: ignore[no-any-return]  # a column of floats

    async def delete_jobs(self, model_profile: str) -> int:
        """Delete some finished jobs of a model profile; how many, so that whoever wants more asks again."""
        row = await self._row(
            "select aiserv.delete_jobs(model_profile => %(model_profile)s)", {"model_profile": model_profile}
        )
        return row[0]  # type: ignore[no-any-return]  # a column of integers

    async def stats(self) -> dict[str, Any]:
        """The numbers of the whole installation, as `aiserv.stats` gives them."""
        return json.loads(await self._text("select aiserv.stats()::text"))  # type: ignore[no-any-return]  # an object

    async def queues(self) -> list[dict[str, Any]]:
        """The queues with `model_profile`, `task_type`, `paused` and `running` of each."""
        rows = await self._rows("select model_profile, task_type, paused, running from aiserv.list_queues()")
        names = ("model_profile", "task_type", "paused", "running")
        return [dict(zip(names, row, strict=True)) for row in rows]

    async def is_read_only(self) -> bool:
        """Whether nothing can be written here: after a failover this may have become a standby."""
        return (await self._row("select current_setting('transaction_read_only')::boolean"))[0]  # type: ignore[no-any-return]  # a boolean

    async def missing_migrations(self) -> list[str]:
        """The migrations that this version knows and the schema has not had; raises psycopg.Error without a schema."""
        installed = {file.name for file in await self.installed_files()}
        return [name for name, file in sql_files().items() if file.runs_once and name not in installed]

    async def _rows(
        self, query: LiteralString, parameters: dict[str, Any] | None = None, *, binary: bool = False
    ) -> list[TupleRow]:
        async with self._pool.connection() as connection:
            try:
                cursor = await connection.execute(query, parameters, binary=binary)
                return await cursor.fetchall()
            except psycopg.errors.ReadOnlySqlTransaction:
                # A standby answers and will never do: the next connection may find the new primary.
                await connection.close()
                raise
