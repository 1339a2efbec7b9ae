"""How jobs come into being: alone, in a batch, or many each for itself."""

import json
from collections.abc import Sequence
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
        new = [job for number, job in enumerate(jobs) if self._is_new(job, jobs[:number])]
        if not self._has_room(new):
            raise Refused("JQ429")
        self.jobs += new
        self.keys |= made
        if batch_id is not None:
            self.batches[batch_id] = Batch(Moment(), jobs, key, body)
        return jobs

    def create_each(self, items: list[Item]) -> list[tuple[Job | None, bool | None, str | None]]:
        """Of each item the job and whether it is new, or the code of its refusal."""
        made: dict[Key, Job] = {}
        outcomes: list[tuple[Job | None, bool | None, str | None]] = []
        jobs = [self._job_of(item, Moment(), None, made) for item in items]
        crowded_out = self._crowded_out([job for number, job in enumerate(jobs) if self._is_new(job, jobs[:number])])
        for number, (item, job) in enumerate(zip(items, jobs, strict=True)):
            if job in crowded_out:
                outcomes.append((None, None, "JQ429"))
            elif job.body != body_of(item):
                outcomes.append((None, None, "JK422"))
            else:
                outcomes.append((job, self._is_new(job, jobs[:number]), None))
        self.jobs += [job for job, is_new, _ in outcomes if job and is_new]
        self.keys |= {key: job for key, job in made.items() if job not in crowded_out}
        return outcomes

    @staticmethod
    def _is_new(job: Job, earlier: list[Job]) -> bool:
        return job.row["id"] is None and job not in earlier

    def _has_room(self, new: list[Job], let_in: Sequence[Job] = ()) -> bool:
        """Whether the new jobs fit under the caps, beside those that wait and those that were let in before them."""
        waiting = [*self.living("ready", "scheduled"), *let_in, *new]
        total, each = self.caps
        owners = [job.row["owner_service"] for job in waiting]
        return not new or (
            (total is None or len(waiting) <= total)
            and (each is None or all(owners.count(job.row["owner_service"]) <= each for job in new))
        )

    def _crowded_out(self, new: list[Job]) -> list[Job]:
        """All come in together, or else one after the other, and of an owner none after the first that did not."""
        if self._has_room(new):
            return []
        let_in: list[Job] = []
        turned_off: set[str] = set()
        for job in new:
            if job.row["owner_service"] not in turned_off and self._has_room([job], let_in):
                let_in.append(job)
            else:
                turned_off.add(job.row["owner_service"])
        return [job for job in new if job not in let_in]

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
