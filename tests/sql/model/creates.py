"""How jobs come into being: alone, in a batch, or many each for itself."""

import json
from typing import Any
from uuid import UUID

from tests.sql.model.books import Batch, Books, Key
from tests.sql.model.job import Job, Refused
from tests.sql.model.moments import Moment

Item = dict[str, Any]


class Creates(Books):
    """Predicts create_job, create_jobs and create_each. The id of a new job is None until the answer shows it."""

    def create(self, items: list[Item], batch_id: UUID | None = None, batch_key: str | None = None) -> list[Job]:
        """Jobs for the items, new or known by their key, or what is left of those of the first time."""
        key = (items[0]["owner_service"], batch_key) if batch_key is not None else None
        body = [(item["owner_service"], item["idempotency_key"], body_of(item)) for item in items]
        for known in self.batches.values():
            if key is not None and known.key == key:
                if known.body != body:
                    raise Refused("JK422")
                return [job for job in known.jobs if job.exists]
        if batch_id in self.batches:
            raise Refused("JV400")
        moment = Moment()
        made: dict[Key, Job] = {}
        jobs = [self._job_of(item, moment, batch_id, made) for item in items]
        for item, job in zip(items, jobs, strict=True):
            if job.body != body_of(item):
                raise Refused("JV400" if job.row["id"] is None else "JK422")
        self.jobs += [job for number, job in enumerate(jobs) if job.row["id"] is None and job not in jobs[:number]]
        self.keys |= made
        if batch_id is not None:
            self.batches[batch_id] = Batch(Moment(), jobs, key, body)
        return jobs

    def create_each(self, items: list[Item]) -> list[tuple[Job | None, bool | None, str | None]]:
        """Of each item the job and whether it is new, or the code of its refusal."""
        moment = Moment()
        made: dict[Key, Job] = {}
        outcomes: list[tuple[Job | None, bool | None, str | None]] = []
        for item in items:
            job = self._job_of(item, moment, None, made)
            if job.body != body_of(item):
                outcomes.append((None, None, "JK422"))
                continue
            is_new = job.row["id"] is None and job not in self.jobs
            if is_new:
                self.jobs.append(job)
            outcomes.append((job, is_new, None))
        self.keys |= made
        return outcomes

    def _job_of(self, item: Item, moment: Moment, batch_id: UUID | None, made: dict[Key, Job]) -> Job:
        key = (item["owner_service"], item["idempotency_key"])
        if known_job := made.get(key) or self.keys.get(key):
            return known_job
        delay = item.get("delay")
        job = Job(
            row={
                "id": None,
                "owner_service": item["owner_service"],
                "owner_ref": "",
                "task_type": item["task_type"],
                "model_profile": item["model_profile"],
                "priority": item["priority"],
                "input": json.loads(item["input"]),
                "result": None,
                "progress": None,
                "metadata": {},
                "usage": None,
                "error_category": None,
                "error_message": None,
                "attempt": 0,
                "failures": 0,
                "max_attempts": item["max_attempts"],
                "idempotency_key": key[1],
                "batch_id": batch_id,
                "traceparent": None,
                "lease_expires_at": None,
                "timeout_seconds": None,
                "created_at": moment,
                "updated_at": moment,
                "started_at": None,
                "finished_at": None,
            },
            body=body_of(item),
        )
        job.wait(self.now, moment + delay if delay else moment)
        if key[1] is not None:
            made[key] = job
        return job


def body_of(item: Item) -> Any:  # noqa: ANN401  # anything that can be compared
    """What two bodies with the same key must share."""
    return [
        item["task_type"],
        item["model_profile"],
        item["priority"],
        json.loads(item["input"]),
        item.get("delay"),
        item["max_attempts"],
    ]
