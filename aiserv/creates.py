"""Single creates: many callers at once, few commits."""

from aiserv.database import Database, is_of_one_row
from aiserv.grouping import Grouping
from aiserv.models import CreateJob
from aiserv.problems import Problem
from aiserv.queries.jobs import CreatedJob, Creation


class Creates:
    """Creates jobs, each for itself, those together that come while others are on their way."""

    def __init__(self, database: Database) -> None:
        self._grouping = Grouping[str, Creation](database.create_each, size=len, is_of_one=is_of_one_row)

    async def create_job(self, body: str, job: CreateJob) -> CreatedJob:
        """The new job, or the one that its idempotency key made before. Raises Problem for a refusal."""
        created = await self._grouping(job.over(body))
        if isinstance(created, Problem):
            raise created
        return created

    async def run(self) -> None:
        """Create what is asked for, for ever."""
        await self._grouping.run()
