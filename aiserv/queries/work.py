"""What workers do, and the sweeper: claim, settle, renew, report trouble, keep house."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Protocol
from uuid import UUID

from aiserv.models import Job, Settlement
from aiserv.queries.base import Queries


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

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """What all its claims say, made once: psycopg takes longer for a list than for all the rest of a claim."""
        return {
            "worker_id": self.worker_id,
            "instance_id": self.instance_id,
            "task_types": _array(self.task_types),
            "model_profiles": _array(self.model_profiles),
            "lease": self.lease,
            "slots": self.slots,
            "providers": json.dumps(dict(self.providers)) if self.providers else None,
            "queues": json.dumps(dict(self.queues)) if self.queues else None,
        }


def _array(texts: Sequence[str]) -> str:
    """An array of texts as PostgreSQL reads it."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"


class Trouble(Protocol):
    """What keeps a provider from working. `retry_after` is how long it asks to be left alone."""

    @property
    def category(self) -> str: ...

    @property
    def message(self) -> str: ...

    @property
    def retry_after(self) -> timedelta | None: ...


class WorkQueries(Queries):
    """What workers do, and the sweeper."""

    async def claim(self, claimer: Claimer, limit: int, *, is_known: bool = False) -> tuple[list[Job], float | None]:
        """Jobs for a built-in worker, and in how many seconds it should look again though nobody wakes it.

        With `is_known` PostgreSQL is not told again who claims: it heard so some ten seconds ago at most.
        """
        rows = await self._rows(
            """
            select
                work.due_in, work.id, work.owner_service, work.task_type, work.model_profile, work.attempt,
                work.timeout_seconds, work.traceparent, work.input::text, work.run_at, work.started_at,
                work.lease_expires_at
            from aiserv.claim_work(
                worker_id      => %(worker_id)s,
                instance_id    => %(instance_id)s,
                task_types     => %(task_types)s,
                model_profiles => %(model_profiles)s,
                max_jobs       => %(limit)s,
                lease          => %(lease)s,
                slots          => %(slots)s,
                providers      => %(providers)s::jsonb,
                queues         => %(queues)s::jsonb,
                is_known       => %(is_known)s
            ) as work
            """,
            {**claimer.parameters, "limit": limit, "is_known": is_known},
            binary=True,
        )
        # The input stays a text: one that Python cannot parse must not cost its neighbours.
        return [Job(*job) for _, *job in rows if job[0] is not None], rows[0][0]

    async def settle_jobs(self, settlements: Sequence[str]) -> dict[int, Settlement]:
        """The settlements that were refused, by their index: as a rule none.

        They are given as JSON text as `aiserv.settle_jobs` describes it.
        """
        rows = await self._rows(
            """
            select settled.number, settled.id, settled.status, settled.code, settled.detail
            from aiserv.settle_jobs(settlements => %(settlements)s::json)
                with ordinality as settled(id, status, code, detail, hint, number)
            where settled.code is not null
            """,
            {"settlements": f"[{','.join(settlements)}]"},
        )
        return {number - 1: Settlement(*refused) for number, *refused in rows}

    async def give_back(
        self,
        job: Job,
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
                delay       => %(delay)s
            ) as job
            """,
            {
                "job_id": job.id,
                "attempt": job.attempt,
                "category": trouble and trouble.category,
                "message": trouble and trouble.message,
                "patience": patience,
                "delay": delay,
            },
        )
        return row[0]  # type: ignore[no-any-return]  # a column of texts

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

    async def paused_providers(self, job: Job) -> dict[str, tuple[str, float]]:
        """The providers that the job is to leave alone: the category of their trouble, and for how many seconds.

        Of those in trouble they are all but the ones that the job was sent to probe.
        """
        rows = await self._rows(
            """
            select provider.name, provider.category, aiserv.seconds_until(provider.paused_until)
            from aiserv.providers as provider
            where provider.probe_job_id is distinct from %(job_id)s
            """,
            {"job_id": job.id},
        )
        return {name: (category, seconds) for name, category, seconds in rows}

    async def sweep(self, retention: timedelta) -> float | None:
        """Recover, promote, fold and prune; returns in how many seconds to come again at the latest."""
        row = await self._row(
            "select aiserv.seconds_until(aiserv.sweep(retention => %(retention)s))", {"retention": retention}
        )
        return row[0]  # type: ignore[no-any-return]  # a column of floats

    async def delete_jobs(self, model_profile: str, *, actor: str | None) -> int:
        """Delete some finished jobs of a model profile; how many, so that whoever wants more asks again."""
        row = await self._row(
            "select aiserv.delete_jobs(model_profile => %(model_profile)s, actor => %(actor)s)",
            {"model_profile": model_profile, "actor": actor},
        )
        return row[0]  # type: ignore[no-any-return]  # a column of integers
