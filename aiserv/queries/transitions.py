"""The transitions of claimed jobs, and those that anybody may ask for."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from aiserv.fields import duration_text
from aiserv.models import (
    CancelJob,
    ClaimJobs,
    HeartbeatJob,
    ReleaseJob,
    SettleCompletion,
    Settlement,
)
from aiserv.problems import Problem, refusal
from aiserv.queries.base import PATIENCE, Queries, ShownJob

# What came with a claim to be settled.
_ALL: Final = "%(body)s::json -> 'settle'"
# The same without those that are left out, and with durations that PostgreSQL knows: it does not know all of Go's.
_CHOSEN: Final = """(
    select json_agg(
        case
            when times.duration is null then item.value
            else aiserv.merge_jobs(item.value, json_build_object('retry_after', times.duration))
        end
        order by item.ordinality
    )
    from json_array_elements(%(body)s::json -> 'settle') with ordinality as item
    join unnest(%(times)s::text[]) with ordinality as times(duration, ordinality) on times.ordinality = item.ordinality
    where (item.value ->> 'id')::uuid <> all(%(left_out)s)
)"""
# What becomes of one job of many that are settled each for itself: the job, or why it is refused.
Settled = ShownJob | Problem


class TransitionQueries(Queries):
    """Claim, complete, fail, heartbeat, release, retry, cancel."""

    async def claim_jobs(
        self, claim: ClaimJobs, lease: timedelta, owner_service: str | None = None, *, recover: bool = True
    ) -> list[ShownJob]:
        """Jobs, of one owner if it is named, for a worker over HTTP; `lease` is for those that ask for none.

        Without `recover` expired leases are left alone.
        """
        return await self._jobs(
            """
            aiserv.claim_jobs(
                worker_id      => %(worker_id)s,
                task_types     => %(task_types)s,
                model_profiles => %(model_profiles)s,
                max_jobs       => %(limit)s,
                lease          => %(lease)s,
                claim_id       => %(claim_id)s,
                owner_service  => %(owner_service)s,
                recover        => %(recover)s
            )
            """,
            {**claim.parameters(), "lease": claim.lease or lease, "owner_service": owner_service, "recover": recover},
        )

    async def settle_each(self, settlements: Sequence[str], patience: timedelta = PATIENCE) -> list[Settled]:
        """What became of each settlement, given as JSON text as `aiserv.settle_each` describes it, in order.

        Raises DatabaseError when another transaction holds one of the jobs for longer than `patience`.
        """
        rows = await self._rows(
            """
            select
                each.code, each.message, each.hint, each.id, each.job::text, each.version, each.status, each.attempt,
                each.task_type, each.model_profile
            from aiserv.settle_each(settlements => %(settlements)s::json, patience => %(patience)s) as each
            """,
            {"settlements": f"[{','.join(settlements)}]", "patience": patience},
        )
        return [refusal(code, message, hint) if code else ShownJob(*shown) for code, message, hint, *shown in rows]

    async def heartbeat_job(self, job_id: UUID, body: str, heartbeat: HeartbeatJob) -> ShownJob:
        return await self._job(
            """
            aiserv.heartbeat_job(
                job_id    => %(job_id)s,
                attempt   => %(attempt)s,
                worker_id => %(worker_id)s,
                lease     => %(lease)s,
                progress  => %(body)s::json -> 'progress'
            )
            """,
            {**heartbeat.parameters(), "job_id": job_id, "body": body},
        )

    async def release_job(self, job_id: UUID, released: ReleaseJob, versions: list[str] | None = None) -> ShownJob:
        """The job, pending unharmed; only if it is at one of these versions, when some are given."""
        return await self._job(
            """
            aiserv.release_job(
                job_id => aiserv.check_job_version(job_id => %(job_id)s, versions => %(versions)s),
                attempt => %(attempt)s, worker_id => %(worker_id)s, delay => %(delay)s
            )
            """,
            {**released.parameters(), "job_id": job_id, "versions": versions},
        )

    async def retry_job(self, job_id: UUID, versions: list[str] | None = None, *, actor: str | None) -> ShownJob:
        """The job, pending again; only if it is at one of these versions, when some are given."""
        return await self._job(
            """
            aiserv.retry_job(
                job_id => aiserv.check_job_version(job_id => %(job_id)s, versions => %(versions)s),
                actor  => %(actor)s
            )
            """,
            {"job_id": job_id, "versions": versions, "actor": actor},
        )

    async def cancel_job(
        self, job_id: UUID, cancelled: CancelJob, versions: list[str] | None = None, *, actor: str | None
    ) -> ShownJob:
        """The job, cancelled; only if it is at one of these versions, when some are given."""
        return await self._job(
            """
            aiserv.cancel_job(
                job_id => aiserv.check_job_version(job_id => %(job_id)s, versions => %(versions)s),
                reason => %(reason)s,
                actor  => %(actor)s
            )
            """,
            {**cancelled.parameters(), "job_id": job_id, "versions": versions, "actor": actor},
        )

    async def settle(self, body: str, claim: ClaimJobs, left_out: list[UUID]) -> list[Settlement]:
        """What became of each settlement that came with a claim, in order, but for those of jobs to be left out."""
        times = [
            None if isinstance(item, SettleCompletion) else duration_text(item.retry_after) for item in claim.settle
        ]
        rows = await self._rows(
            f"""
            select
                settled.id, settled.status, settled.code, settled.detail, coalesce(job.task_type, ''),
                coalesce(job.model_profile, '')
            from aiserv.settle_jobs(settlements => {_CHOSEN if left_out or any(times) else _ALL}) as settled
            left join lateral (
                select known.task_type, known.model_profile from aiserv.jobs as known where known.id = settled.id
                -- A look for each: a table of jobs is never read as a whole.
                limit 1
            ) as job on true
            """,  # noqa: S608 - literals
            {"body": body, "times": times, "left_out": left_out},
            binary=True,
        )
        return [Settlement(*row) for row in rows]
