"""Jobs and batches: create and read."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, LiteralString, NamedTuple
from uuid import UUID

from aiserv.filters import Filter, ListJobs
from aiserv.problems import LOCK_NOT_AVAILABLE, Problem, refusal
from aiserv.queries.base import CONDITIONS, PATIENCE, BatchedJob, JobJson, Queries, ShownJob

# A page ends early once it holds so much payload.
PAGE_BYTES: Final = 64 * 1024 * 1024


class Summary(NamedTuple):
    """A job without its payloads, and what subscribers ask for it by."""

    id: UUID
    text: JobJson
    status: str
    owner_service: str
    task_type: str
    model_profile: str
    batch_id: UUID | None


class CreatedJob(NamedTuple):
    """A job that was asked for, and whether it is new: not the one that its idempotency key made before."""

    id: str
    text: JobJson
    version: str
    is_new: bool


# What becomes of one job of many that are created each for itself: the job, or why it is refused.
Creation = CreatedJob | Problem
# The jobs of a request, and what they share: `defaults` over the fields beside `jobs`. The body is read once.
_SHARING: Final = """
(
    select
        (array_agg(field.value) filter (where field.key = 'jobs'))[1] as jobs,
        nullif(aiserv.merge_jobs(
            coalesce(
                json_object_agg(field.key, field.value) filter (where field.key not in ('jobs', 'defaults')), '{}'
            ),
            coalesce((array_agg(field.value) filter (where field.key = 'defaults'))[1], '{}')
        )::text, '{}')::json as defaults
    from json_each(%(body)s::json) as field
) as sent
"""
# Those of one that has nothing else.
_LISTED: Final = "(select %(body)s::json as jobs, null::json as defaults) as sent"
# Beside them: the jobs with the times that Python has read in the place of those that were sent.
_TIMES: Final = """
cross join lateral (
    select json_agg(
        case
            when times.text is null then item.value
            else (
                select json_object_agg(field.key, field.value)
                from (
                    select own.key, own.value from json_each(item.value) as own where own.key not in ('run_at', 'delay')
                    union all
                    select given.key, given.value from json_each(times.text::json) as given
                ) as field
            )
        end
        order by item.ordinality
    ) as jobs
    from json_array_elements(sent.jobs) with ordinality as item
    join unnest(%(times)s::text[]) with ordinality as times(text, ordinality) on times.ordinality = item.ordinality
) as timed
"""


def _sent(body: str, times: list[str | None] | None) -> LiteralString:
    """What a request has sent, for a from clause."""
    source: LiteralString = _LISTED if body.startswith("[") else _SHARING
    return source + _TIMES if times else source


def _jobs(times: list[str | None] | None) -> LiteralString:
    return "timed.jobs" if times else "sent.jobs"


class JobQueries(Queries):
    """Jobs and batches: create and read."""

    async def create_each(
        self, jobs: Sequence[str], patience: timedelta = PATIENCE, *, plain: bool = False
    ) -> list[Creation | None]:
        """What became of each job, given as the JSON of its body.

        It is None where an idempotency key was held by another transaction for longer than `patience`. They are `plain`
        if no input is null or text, and no field unknown.
        """
        rows = await self._rows(
            """
            select each.code, each.message, each.hint, each.id::text, each.job::text, each.version, each.is_new
            from aiserv.create_each(jobs => %(jobs)s::json, patience => %(patience)s, plain => %(plain)s) as each
            """,
            {"jobs": f"[{','.join(jobs)}]", "patience": patience, "plain": plain},
        )
        return [
            None if code == LOCK_NOT_AVAILABLE else refusal(code, message, hint) if code else CreatedJob(*created)
            for code, message, hint, *created in rows
        ]

    async def create_jobs(
        self,
        body: str,
        times: list[str | None] | None,
        idempotency_key: str | None,
        *,
        with_jobs: bool,
    ) -> tuple[UUID, list[BatchedJob]]:
        """The id of a new batch, and its jobs in input order: id, the job if it is wanted, and the batch that made it.

        `body` is the text of a request: `jobs`, over `defaults`, over the fields beside them; or of the array of jobs,
        where there is nothing else. `times` has for some jobs a JSON object that replaces their `run_at` and `delay`.
        If the key made a batch before, the jobs are those of that one.
        """
        rows = await self._rows(
            f"""
            with batch as materialized (select aiserv.new_id() as id)
            select batch.id, job.id, case when %(with_jobs)s then aiserv.job_json(job)::text end, job.batch_id
            from batch cross join {_sent(body, times)}
            -- Of a batch that its key finds again, retention may have left nothing.
            left join lateral aiserv.create_jobs(
                jobs            => {_jobs(times)},
                defaults        => sent.defaults,
                batch_id        => batch.id,
                idempotency_key => %(idempotency_key)s
            ) as job on true
            """,  # noqa: S608 - literals
            {"body": body, "times": times, "idempotency_key": idempotency_key, "with_jobs": with_jobs},
        )
        return rows[0][0], [(job_id, job, made_by) for _, job_id, job, made_by in rows if job_id is not None]

    async def create_batch(self, body: str, times: list[str | None] | None, *, plain: bool) -> tuple[UUID, list[str]]:
        """The id of a new batch in which nothing has a key, and the ids of its jobs; the rest as `create_jobs`.

        It is `plain` if no input is null, text, or shared.
        """
        batch_id, ids = await self._row(
            f"""
            with batch as materialized (select aiserv.new_id() as id)
            select batch.id, array_to_string(aiserv.create_batch(
                jobs => {_jobs(times)}, defaults => sent.defaults, batch_id => batch.id, plain => %(plain)s
            ), ' ')
            from batch cross join {_sent(body, times)}
            """,  # noqa: S608 - literals
            {"body": body, "times": times, "plain": plain},
        )
        return batch_id, ids.split(" ")

    async def batch_with_key(self, owner_service: str, idempotency_key: str) -> UUID | None:
        """The batch that this key made."""
        row = await self._row(
            "select aiserv.batch_with_key(owner_service => %(owner)s, idempotency_key => %(key)s)",
            {"owner": owner_service, "key": idempotency_key},
        )
        return row[0]  # type: ignore[no-any-return]  # a uuid column

    async def get_job(self, job_id: UUID) -> ShownJob:
        return await self._job("aiserv.get_job(job_id => %(job_id)s)", {"job_id": job_id})

    async def list_jobs(self, page: ListJobs, after: UUID | None) -> list[tuple[UUID, JobJson]]:
        """Up to `page.limit` jobs and one more, if there is one; fewer once they hold `PAGE_BYTES`."""
        return await self._rows(
            f"""
            select job.id, aiserv.job_json(job, summary => %(summary)s)::text
            from aiserv.list_jobs(
                {CONDITIONS}, max_jobs => %(limit)s + 1, sort => %(order)s, after => %(after)s,
                max_bytes => case when not %(summary)s then %(bytes)s end
            ) as job
            """,  # noqa: S608 - literals
            {**page.parameters(), "after": after, "summary": page.fields == "summary", "bytes": PAGE_BYTES},
        )

    async def count_jobs(self, conditions: Filter) -> int:
        query = f"select count(*) from aiserv.matching_jobs({CONDITIONS})"  # noqa: S608 - literals
        row = await self._row(query, conditions.parameters())
        return row[0]  # type: ignore[no-any-return]  # a bigint column

    async def jobs_of_owner(self, job_ids: list[UUID], owner_service: str) -> set[UUID]:
        """Those of the jobs that belong to the owner."""
        rows = await self._rows(
            "select * from aiserv.jobs_of_owner(job_ids => %(job_ids)s, owner_service => %(owner_service)s)",
            {"job_ids": job_ids, "owner_service": owner_service},
        )
        return {row[0] for row in rows}

    async def is_batch_of(self, batch_id: UUID, owner_service: str) -> bool:
        """Whether there is such a batch, and all its jobs belong to the owner."""
        row = await self._row(
            "select aiserv.is_batch_of(batch_id => %(batch_id)s, owner_service => %(owner_service)s)",
            {"batch_id": batch_id, "owner_service": owner_service},
        )
        return row[0]  # type: ignore[no-any-return]  # a boolean column

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

    async def unfinished_in_batch(self, batch_id: UUID) -> UUID | None:
        """A job of the batch that is not finished yet."""
        row = await self._row("select aiserv.unfinished_in_batch(batch_id => %(batch_id)s)", {"batch_id": batch_id})
        return row[0]  # type: ignore[no-any-return]  # a uuid column

    async def jobs_with_ids(self, job_ids: list[UUID]) -> list[ShownJob]:
        """Those of up to 1000 jobs that are there."""
        return await self._jobs("aiserv.list_jobs(id => %(ids)s, max_jobs => 1000)", {"ids": job_ids})

    async def summaries(self, job_ids: list[UUID]) -> list[Summary]:
        """Those of up to 1000 jobs that are there, without their payloads."""
        rows = await self._rows(
            """
            select
                job.id, aiserv.job_json(job, summary => true)::text, job.status, job.owner_service, job.task_type,
                job.model_profile, job.batch_id
            from aiserv.list_jobs(id => %(ids)s, max_jobs => 1000) as job
            """,
            {"ids": job_ids},
        )
        return [Summary(*row) for row in rows]

    async def next_wake(self, task_types: list[str] | None, model_profiles: list[str] | None) -> float | None:
        """In how many seconds a claim should look again though nobody calls; None is never."""
        row = await self._row(
            "select aiserv.seconds_until(aiserv.next_wake(task_types => %(types)s, model_profiles => %(profiles)s))",
            {"types": task_types, "profiles": model_profiles},
        )
        return row[0]  # type: ignore[no-any-return]  # a column of floats
