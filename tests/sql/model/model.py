"""What the functions of schema `aiserv` promise, in Python: each method predicts the jobs that one of them returns.

It knows no SQL and no table. `Refused` is the error that the function raises; whoever raises it has changed nothing.
Times are those of `now`, the moment before the call; what the call reads from the clock is a `Moment`.
"""

from collections.abc import Callable

from tests.sql.model.claims import Claims
from tests.sql.model.creates import Creates
from tests.sql.model.job import Job, Refused
from tests.sql.model.moments import Moment
from tests.sql.model.settles import Settles


class Model(Creates, Claims, Settles):
    """All of it; here cancel_job, cancel_jobs, retry_job and retry_jobs."""

    def cancel(self, job: Job | None, reason: str | None) -> Job:
        if job is None or not job.exists:
            raise Refused("JN404")
        if job.status in {"completed", "failed"}:
            raise Refused("JS409")
        if job.status != "cancelled":
            self.reached("cancel", self._cancel([job], reason), reason)
        return job

    def cancel_many(self, matches: Callable[[Job], bool], max_jobs: int | None, reason: str | None) -> list[Job]:
        jobs = [job for job in self.living("ready", "scheduled", "lease") if matches(job)][:max_jobs]
        return self.reached("cancel", self._cancel(jobs, reason), reason)

    @staticmethod
    def _cancel(jobs: list[Job], reason: str | None) -> list[Job]:
        moment = Moment()
        for job in jobs:
            if job.place == "lease":
                job.ended("cancelled", moment, None, reason)
            job.finish("cancelled", moment, error_category=None, error_message=reason)
        return jobs

    def retry(self, job: Job | None) -> Job:
        if job is None or not job.exists:
            raise Refused("JN404")
        if job.status not in {"failed", "running"}:
            raise Refused("JS409")
        return self.reached("retry", self._retry([job]))[0]

    def retry_many(self, matches: Callable[[Job], bool], max_jobs: int | None) -> list[Job]:
        jobs = [job for job in self.living() if job.status in {"failed", "running"} and matches(job)]
        return self.reached("retry", self._retry(jobs[:max_jobs]))

    def _retry(self, jobs: list[Job]) -> list[Job]:
        moment = Moment()
        for job in jobs:
            if job.place == "lease":
                job.ended("superseded", moment)
            job.row |= dict.fromkeys(("result", "usage", "error_category", "error_message", "finished_at"))
            job.row |= {"failures": 0, "updated_at": moment}
            job.lost_leases, job.first_claim_at, job.retryable = 0, None, None
            job.wait(self.now, moment)
        return jobs
