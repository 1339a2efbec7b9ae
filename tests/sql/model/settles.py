"""What becomes of attempts: renewed, completed, failed, given back."""

import json
from datetime import timedelta
from typing import Any

from tests.sql.model.books import Books
from tests.sql.model.job import Job, Refused
from tests.sql.model.moments import NO_TIME, Moment, known


class Settles(Books):
    """Predicts heartbeat_job, heartbeat_jobs, complete_job, fail_job, release_job, settle_jobs and settle_each."""

    def heartbeat(
        self, job: Job | None, attempt: int | None, worker_id: str | None, lease: timedelta | None, progress: object
    ) -> Job:
        if job is None or not job.is_held(attempt, worker_id):
            return self._explained(job, attempt, worker_id, repeated=False)
        renewed = lease or job.lease
        if job.row["lease_expires_at"] < self.now + renewed:
            job.row["lease_expires_at"] = Moment(renewed, renewed)
        job.row |= {"updated_at": Moment(), "progress": progress if progress is not None else job.row["progress"]}
        return job

    def heartbeat_many(self, held: list[tuple[Job, int]], lease: timedelta | None) -> list[Job]:
        """Those that are held still, in order of id."""
        kept = [self.heartbeat(job, attempt, None, lease, None) for job, attempt in held if job.is_held(attempt, None)]
        return sorted(kept, key=lambda job: str(job.row["id"]))

    def complete(
        self, job: Job | None, attempt: int | None, worker_id: str | None, result: str, usage: object = None
    ) -> Job:
        if job is None or not job.is_held(attempt, worker_id):
            repeated = job is not None and job.status == "completed" and job.result == result
            return self._explained(
                job, attempt, worker_id, repeated=repeated and attempt in {None, job and job.row["attempt"]}
            )
        moment = Moment()
        job.ended("completed", moment)
        job.result = result
        job.finish("completed", moment, result=json.loads(result), usage=usage, error_category=None, error_message=None)
        return job

    def fail(  # noqa: PLR0917  # as the function
        self,
        job: Job | None,
        attempt: int | None,
        worker_id: str | None,
        category: str,
        message: str,
        retryable: bool,  # noqa: FBT001  # as the function
        retry_after: timedelta | None,
    ) -> Job:
        if job is None or not job.is_held(attempt, worker_id):
            said = (job.row["error_category"], job.row["error_message"]) if job else None
            last = job.attempts[-1]["outcome"] if job and job.attempts else None
            repeated = (
                said == (category, message)
                and last in {"retrying", "failed"}
                and job is not None
                and job.retryable is retryable
                and attempt in {None, job.row["attempt"]}
            )
            return self._explained(job, attempt, worker_id, repeated=repeated)
        moment = Moment()
        job.row["failures"] += retryable
        again = retryable and job.row["failures"] < job.row["max_attempts"]
        job.ended("retrying" if again else "failed", moment, category, message)
        job.retryable, job.lost_leases = retryable, 0
        job.row |= {"error_category": category, "error_message": message, "usage": None}
        if again:
            longest = timedelta(seconds=2 ** job.row["failures"])
            run_at = Moment(longest / 2, longest) if retry_after is None else moment + retry_after
            job.wait(self.now, run_at if retry_after != NO_TIME else moment)
        else:
            job.finish("failed", moment)
        return job

    def release(  # noqa: PLR0917  # as the function
        self,
        job: Job | None,
        attempt: int | None,
        worker_id: str | None,
        delay: timedelta | None,
        category: str | None,
        patience: timedelta | None,
    ) -> Job:
        if job is None or not job.is_held(attempt, worker_id):
            last = job.attempts[-1] if job and job.attempts else {"outcome": None, "error_category": None}
            repeated = job is not None and (
                (job.status == "pending" and last["outcome"] == "released")
                or (job.status == "failed" and last["outcome"] == "failed" and last["error_category"] == category)
            )
            return self._explained(
                job, attempt, worker_id, repeated=repeated and attempt in {None, job and job.row["attempt"]}
            )
        first = known(job.first_claim_at or job.row["started_at"])
        if category is not None and patience is not None and first + patience <= self.now:
            return self.fail(job, attempt, worker_id, category, "busy", retryable=False, retry_after=None)
        moment = Moment()
        run_at = moment + delay if delay else moment if category else job.row["run_at"]
        job.requeue("released", moment, category, run_at, self.now)
        job.lost_leases = 0
        return job

    @staticmethod
    def _explained(job: Job | None, attempt: int | None, worker_id: str | None, *, repeated: bool) -> Job:
        if job is None or not job.exists:
            raise Refused("JN404")
        if repeated:
            return job
        raise Refused("JS409" if attempt is None and worker_id is None else "JL409")

    def settle(self, items: list[tuple[Job | None, dict[str, Any]]]) -> list[tuple[str | None, str | None]]:
        """The status and the code of each item. Completions go first, then failures in order of id."""
        order = sorted(range(len(items)), key=lambda number: (items[number][1]["id"], number))
        answers: dict[int, tuple[str | None, str | None]] = {}
        for number in order:
            job, item = items[number]
            if "result" in item and job is not None and job.is_held(item["attempt"], item["worker_id"]):
                answers[number] = self._settle(job, item)
        for number in order:
            if number not in answers:
                answers[number] = self._settle(*items[number])
        return [answers[number] for number in range(len(items))]

    def _settle(self, job: Job | None, item: dict[str, Any]) -> tuple[str | None, str | None]:
        try:
            if "result" in item:
                settled = self.complete(job, item["attempt"], item["worker_id"], item["result"])
            else:
                words = item["category"], item["message"], item["retryable"], item["after"]
                settled = self.fail(job, item["attempt"], item["worker_id"], *words)
        except Refused as refused:
            return None, str(refused)
        return settled.status, None
