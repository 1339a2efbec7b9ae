"""What all queries share: a way to run them, and a job as PostgreSQL renders it."""

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID

# With another transaction that holds a key or a job, while neighbours wait for the same statement.
PATIENCE: Final = timedelta(milliseconds=100)
# With the same while nobody else waits for the statement.
PATIENCE_ALONE: Final = timedelta(seconds=4)

# A job as PostgreSQL rendered it: passed on unparsed.
JobJson = str

# A job of a batch: its id, the job if it was asked for, and the batch that made it.
BatchedJob = tuple[UUID, JobJson | None, UUID | None]

# The columns of a ShownJob, of a row of the view aiserv.jobs called job.
_SHOWN: Final = (
    "job.id, aiserv.job_json(job)::text, aiserv.job_version(job),"
    " job.status, job.attempt, job.task_type, job.model_profile"
)

# The conditions of a Filter as arguments of list_jobs and matching_jobs.
CONDITIONS: Final = """
    id => %(id)s, owner_service => %(owner_service)s, owner_ref => %(owner_ref)s, task_type => %(task_type)s,
    model_profile => %(model_profile)s, status => %(status)s, error_category => %(error_category)s,
    worker_id => %(worker_id)s, batch_id => %(batch_id)s, created_after => %(created_after)s,
    created_before => %(created_before)s
"""


class ShownJob(NamedTuple):
    """A job for an answer, and what the server itself needs to know of it."""

    id: UUID
    text: JobJson
    version: str
    status: str
    attempt: int
    task_type: str
    model_profile: str

    @property
    def is_finished(self) -> bool:
        return self.status in {"completed", "failed", "cancelled"}


class Queries(ABC):
    """Runs queries, each on a connection of its own and in a transaction of its own."""

    @abstractmethod
    async def _rows(
        self, query: LiteralString, parameters: dict[str, Any] | None = None, *, binary: bool = False
    ) -> list[tuple[Any, ...]]:
        """All rows of the answer; `binary` is quicker for many times and ids."""

    async def _row(self, query: LiteralString, parameters: dict[str, Any] | None = None) -> tuple[Any, ...]:
        (row,) = await self._rows(query, parameters)
        return row

    async def _text(self, query: LiteralString, parameters: dict[str, Any] | None = None) -> str:
        return (await self._row(query, parameters))[0]  # type: ignore[no-any-return]  # a text column

    async def _jobs(self, source: LiteralString, parameters: dict[str, Any]) -> list[ShownJob]:
        """The jobs that a function returns, called as in a from clause."""
        query = f"select {_SHOWN} from {source} as job"  # noqa: S608 - two literals
        return [ShownJob(*row) for row in await self._rows(query, parameters)]

    async def _job(self, source: LiteralString, parameters: dict[str, Any]) -> ShownJob:
        (job,) = await self._jobs(source, parameters)
        return job
