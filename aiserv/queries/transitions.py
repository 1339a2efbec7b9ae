"""The transitions of claimed jobs, and those that anybody may ask for."""

from datetime import timedelta
from uuid import UUID

from aiserv.fields import duration_text
from aiserv.models import (
    CancelJob,
    ClaimJobs,
    CompleteJob,
    FailJob,
    HeartbeatJob,
    ReleaseJob,
    SettleCompletion,
    SettleFailure,
    Settlement,
)
from aiserv.queries.base import Queries, ShownJob


class TransitionQueries(Queries):
    """Claim, complete, fail, heartbeat, release, retry, cancel."""

    async def claim_jobs(self, claim: ClaimJobs, lease: timedelta, owner_service: str | None = None) -> list[ShownJob]:
        """Jobs, of one owner if it is named, for a worker over HTTP; `lease` is for those that ask for none."""
        return await self._jobs(
            """
            aiserv.claim_jobs(
                worker_id      => %(worker_id)s,
                task_types     => %(task_types)s,
                model_profiles => %(model_profiles)s,
                max_jobs       => %(limit)s,
                lease          => %(lease)s,
                claim_id       => %(claim_id)s,
                owner_service  => %(owner_service)s
            )
            """,
            {**claim.parameters(), "lease": claim.lease or lease, "owner_service": owner_service},
        )

    async def complete_job(self, job_id: UUID, body: str, completed: CompleteJob) -> ShownJob:
        return await self._job(
            """
            aiserv.complete_job(
                job_id    => %(job_id)s,
                result    => %(body)s::json -> 'result',
                attempt   => %(attempt)s,
                worker_id => %(worker_id)s,
                usage     => nullif((%(body)s::json -> 'usage')::text, 'null')::json
            )
            """,
            {**completed.parameters(), "job_id": job_id, "body": body},
        )

    async def fail_job(self, job_id: UUID, body: str, failed: FailJob) -> ShownJob:
        return await self._job(
            """
            aiserv.fail_job(
                job_id      => %(job_id)s,
                category    => %(category)s,
                message     => %(message)s,
                attempt     => %(attempt)s,
                worker_id   => %(worker_id)s,
                retryable   => %(retryable)s,
                retry_after => %(retry_after)s,
                usage       => nullif((%(body)s::json -> 'usage')::text, 'null')::json
            )
            """,
            {**failed.parameters(), "job_id": job_id, "body": body},
        )

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

    async def retry_job(self, job_id: UUID, versions: list[str] | None = None) -> ShownJob:
        """The job, pending again; only if it is at one of these versions, when some are given."""
        return await self._job(
            """
            aiserv.retry_job(job_id => aiserv.check_job_version(job_id => %(job_id)s, versions => %(versions)s))
            """,
            {"job_id": job_id, "versions": versions},
        )

    async def cancel_job(self, job_id: UUID, cancelled: CancelJob, versions: list[str] | None = None) -> ShownJob:
        """The job, cancelled; only if it is at one of these versions, when some are given."""
        return await self._job(
            """
            aiserv.cancel_job(
                job_id => aiserv.check_job_version(job_id => %(job_id)s, versions => %(versions)s),
                reason => %(reason)s
            )
            """,
            {**cancelled.parameters(), "job_id": job_id, "versions": versions},
        )

    async def settle(self, body: str, claim: ClaimJobs, left_out: list[UUID]) -> list[Settlement]:
        """What became of each settlement that came with a claim, in order, but for those of jobs to be left out."""
        rows = await self._rows(
            """
            select settled.id, settled.status, settled.code, settled.detail
            from aiserv.settle_jobs(settlements => (
                select json_agg(
                    case
                        when later.duration is null then item.value
                        else aiserv.merge_jobs(item.value, json_build_object('retry_after', later.duration))
                    end
                    order by item.ordinality
                )
                from json_array_elements(%(body)s::json -> 'settle') with ordinality as item
                join unnest(%(retry_after)s::text[]) with ordinality as later(duration, ordinality)
                    on later.ordinality = item.ordinality
                where (item.value ->> 'id')::uuid <> all(%(left_out)s)
            )) as settled
            """,
            {"body": body, "retry_after": [_retry_after(item) for item in claim.settle], "left_out": left_out},
        )
        return [Settlement(*row) for row in rows]


def _retry_after(item: SettleCompletion | SettleFailure) -> str | None:
    # PostgreSQL does not know all of Go's durations.
    return None if isinstance(item, SettleCompletion) else duration_text(item.retry_after)
