"""Many jobs by filter, in pieces: each a transaction of its own, oldest first, with the actor who asks for it."""

from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

from aiserv.filters import BulkFilter, CancelJobs, RetryJobs
from aiserv.queries.base import CONDITIONS, Queries

PIECE: Final = 1000
# Looked for at once. A look that finds few may read all that waits, and those found may be many.
FOUND: Final = 100_000
# The id, task type and model profile of a job that was reached.
Reached = tuple[UUID, str, str]


class BulkQueries(Queries):
    """Retry and cancel by filter."""

    def retry_jobs(self, chosen: RetryJobs, *, actor: str | None) -> AsyncIterator[list[Reached]]:
        """Piece by piece, the jobs that are pending again."""
        return self._in_pieces(
            """
            select job.id, job.task_type, job.model_profile
            from aiserv.retry_jobs(id => %(piece)s::uuid[], status => %(status)s, actor => %(actor)s) as job
            """,
            chosen,
            actor,
        )

    def cancel_jobs(self, chosen: CancelJobs, *, actor: str | None) -> AsyncIterator[list[Reached]]:
        """Piece by piece, the jobs that are cancelled."""
        return self._in_pieces(
            """
            select job.id, job.task_type, job.model_profile
            from aiserv.cancel_jobs(
                id => %(piece)s::uuid[], status => %(status)s, reason => %(reason)s, actor => %(actor)s
            ) as job
            """,
            chosen,
            actor,
        )

    async def _in_pieces(self, verb: str, chosen: BulkFilter, actor: str | None) -> AsyncIterator[list[Reached]]:
        # What is created meanwhile is not meant, or there might be no end. What is there is, also when the clock went
        # back.
        (until,) = await self._row(
            """
            select least(
                greatest(clock_timestamp(), (
                    select newest.created_at + interval '1 microsecond' from aiserv.list_jobs(max_jobs => 1) as newest
                )),
                %(created_before)s::timestamptz
            )
            """,
            chosen.parameters(),
        )
        given: dict[str, Any] = {**chosen.parameters(), "created_before": until, "after": None}
        left = chosen.limit
        while left is None or left > 0:
            pieces = await self._pieces({**given, "most": FOUND if left is None else min(left, FOUND)})
            if not pieces:
                return
            for piece, last in pieces:
                # Past this piece in any case: a job that was retried may run again, and would match for ever.
                given["after"] = last
                reached = await self._rows(verb, {**given, "piece": piece, "actor": actor})
                left = None if left is None else left - len(reached)
                yield reached

    async def _pieces(self, given: dict[str, Any]) -> list[tuple[str, UUID]]:
        """The ids of those that match, as arrays that PostgreSQL wrote and will read, and the last one of each."""
        return await self._rows(
            f"""
            select array_agg(job.id order by job.id)::text, (array_agg(job.id order by job.id desc))[1]
            from aiserv.matching_jobs({CONDITIONS}, max_jobs => %(most)s, after => %(after)s)
                with ordinality as job(id, position)
            group by (job.position - 1) / %(size)s
            order by min(job.position)
            """,  # noqa: S608 - literals
            {**given, "size": PIECE},
        )
