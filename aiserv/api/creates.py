"""Single creates: many callers at once, few commits."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import anyio

from aiserv.database import Database, is_of_one_row
from aiserv.grouping import Grouping
from aiserv.models import CreateJob
from aiserv.queries.base import PATIENCE, PATIENCE_ALONE
from aiserv.queries.jobs import CreatedJob, Creation

# While the disk keeps one group, PostgreSQL works on the next. A third would only make all of them smaller.
LANES: Final = 2


class _Sent(NamedTuple):
    """The JSON of a job, and whether PostgreSQL reads it at one look."""

    text: str
    is_plain: bool


class Creates:
    """Creates jobs, each for itself, those together that come while others are on their way."""

    def __init__(self, database: Database, places_alone: anyio.CapacityLimiter) -> None:
        self._database = database
        self._grouping = Grouping[_Sent, CreatedJob](
            self._create_each,
            places_alone,
            size=lambda sent: len(sent.text),
            is_of_one=is_of_one_row,
            waits_for="the idempotency key",
            lanes=LANES,
        )

    async def create_job(self, body: str, job: CreateJob) -> CreatedJob:
        """The new job, or the one that its idempotency key made before. Raises Problem for a refusal."""
        return await self._grouping(_Sent(job.over(body), job.is_plain))

    async def run(self) -> None:
        """Create what is asked for, for ever."""
        await self._grouping.run()

    async def _create_each(self, jobs: Sequence[_Sent], alone: bool) -> Sequence[Creation | None]:  # noqa: FBT001 - what Grouping says
        patience = PATIENCE_ALONE if alone else PATIENCE
        plain = all(job.is_plain for job in jobs)
        return await self._database.create_each([job.text for job in jobs], patience, plain=plain)
