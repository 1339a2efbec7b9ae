"""Single settlements: many callers at once, few commits."""

from collections.abc import Sequence
from uuid import UUID

import anyio

from aiserv.database import Database, is_of_one_row
from aiserv.fields import duration_text
from aiserv.grouping import Grouping
from aiserv.models import FailJob
from aiserv.queries.base import PATIENCE, PATIENCE_ALONE, ShownJob
from aiserv.queries.transitions import Settled


class Settlements:
    """Completes and fails jobs, each for itself, those together that come while others are on their way."""

    def __init__(self, database: Database, places_alone: anyio.CapacityLimiter) -> None:
        self._database = database
        self._grouping = Grouping[str, ShownJob](
            self._settle_each, places_alone, size=len, is_of_one=is_of_one_row, waits_for="the job"
        )

    async def complete_job(self, job_id: UUID, body: str) -> ShownJob:
        """The completed job. Raises Problem for a refusal."""
        return await self._grouping(_with(body, f'"id":"{job_id}"'))

    async def fail_job(self, job_id: UUID, body: str, failed: FailJob) -> ShownJob:
        """The job, failed or pending again. Raises Problem for a refusal."""
        # PostgreSQL does not know all of Go's durations.
        later = f',"retry_after":"{duration_text(failed.retry_after)}"' if failed.retry_after is not None else ""
        return await self._grouping(_with(body, f'"id":"{job_id}"{later}'))

    async def run(self) -> None:
        """Settle what is asked for, for ever."""
        await self._grouping.run()

    async def _settle_each(self, settlements: Sequence[str], alone: bool) -> Sequence[Settled]:  # noqa: FBT001 - what Grouping says
        return await self._database.settle_each(settlements, PATIENCE_ALONE if alone else PATIENCE)


def _with(body: str, members: str) -> str:
    """The JSON object with these members appended: of members with one name PostgreSQL takes the last."""
    return f"{body.rstrip()[:-1]},{members}}}"
