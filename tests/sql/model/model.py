"""What the functions of schema `aiserv` promise, in Python: each method predicts the jobs that one of them returns.

It knows no SQL and no table. `Refused` is the error that the function raises; whoever raises it has changed nothing.
Times are those of `now`, the moment before the call; what the call reads from the clock is a `Moment`.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.sql.moments import NO_TIME, Moment, Time, known, older_id

FINAL = {"completed", "failed", "cancelled"}
LOST = "{} leases in a row expired: the workers that ran it died or were cut off"


class Refused(Exception):  # noqa: N818  # it is what the function does, and no mishap
    """The SQLSTATE with which the function refuses."""


@dataclass(eq=False)
class Job:
    """A job as `aiserv.jobs` shows it, and what only the functions know of it."""

    row: dict[str, Any]
    body: Any
    result: str | None = None
    place: str | None = None
    lease: timedelta = NO_TIME
    claim_id: str | None = None
    lost_leases: int = 0
    first_claim_at: Time | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    retryable: bool | None = None
    exists: bool = True

    @property
    def status(self) -> str:
        return str(self.row["status"])

    @property
    def queue(self) -> tuple[str, str]:
        return self.row["model_profile"], self.row["task_type"]

    def is_of(self, model_profile: str, task_type: str | None) -> bool:
        return self.row["model_profile"] == model_profile and task_type in {None, self.row["task_type"]}

    def is_held(self, attempt: int | None, worker_id: str | None) -> bool:
        return (
            self.exists
            and self.place == "lease"
            and attempt in {None, self.row["attempt"]}
            and worker_id in {None, self.row["worker_id"]}
        )

    def ended(self, outcome: str, moment: Moment, category: str | None = None, message: str | None = None) -> None:
        """Take the running attempt away and write down how it ended."""
        self.attempts[-1] |= {
            "finished_at": moment,
            "outcome": outcome,
            "error_category": category,
            "error_message": message,
        }
        self.first_claim_at = self.first_claim_at or self.row["started_at"]
        self.row |= {"lease_expires_at": None, "progress": None, "updated_at": moment}
        self.place, self.claim_id, self.retryable = None, None, None

    def finish(self, status: str, moment: Moment, **shown: object) -> None:
        self.place = None
        self.row |= {"status": status, "finished_at": moment, "updated_at": moment} | shown

    def wait(self, now: datetime, run_at: Time) -> None:
        due = is_before(run_at, now) or (isinstance(run_at, Moment) and not run_at.low)
        self.place = "ready" if due else "scheduled"
        self.row |= {"status": "pending", "run_at": run_at, "worker_id": None}


@dataclass
class Setting:
    paused: bool = False
    max_running: int | None = None


@dataclass
class Model:
    now: datetime
    jobs: list[Job] = field(default_factory=list)
    keys: dict[tuple[str, str], Job] = field(default_factory=dict)
    batches: dict[UUID, tuple[Time, list[Job]]] = field(default_factory=dict)
    settings: dict[tuple[str, str], Setting] = field(default_factory=dict)
    turns: dict[tuple[str, str, str], int] = field(default_factory=dict)
    served: int = 0

    def living(self, *places: str) -> list[Job]:
        """The jobs that were not pruned, or only those that lie in one of these places, in order of id."""
        return sorted(
            (job for job in self.jobs if job.exists and (not places or job.place in places)),
            key=lambda job: str(job.row["id"]),
        )

    def settle_times(self) -> None:
        """Replace every moment by the time that answers have shown it to be."""
        for job in self.living():
            job.row = {name: known(value) for name, value in job.row.items()}
            job.attempts = [{name: known(value) for name, value in row.items()} for row in job.attempts]
            job.first_claim_at = known(job.first_claim_at)
        self.batches = {batch: (known(at), jobs) for batch, (at, jobs) in self.batches.items()}

    def grow_older(self, by: timedelta) -> None:
        """Let time pass: everything was so much earlier, and ids, which are made of the time, say so, too."""

        def older(value: object) -> object:
            return value - by if isinstance(value, datetime) else value

        for job in self.jobs:
            job.row = {name: older(value) for name, value in job.row.items()}
            job.row["id"] = older_id(job.row["id"], by)
            job.attempts = [{name: older(value) for name, value in row.items()} for row in job.attempts]
            job.first_claim_at = older(job.first_claim_at)  # type: ignore[assignment]  # a time stays one
        self.batches = {batch: (older(at), jobs) for batch, (at, jobs) in self.batches.items()}  # type: ignore[misc]

    # Create

    def create(self, items: list[dict[str, Any]], batch_id: UUID | None = None) -> list[Job]:
        """Jobs for the items, new or known by their key. The id of a new one is None until the answer shows it."""
        if batch_id in self.batches:
            raise Refused("JV400")
        moment = Moment()
        made: dict[tuple[str, str], Job] = {}
        jobs = [self._job_of(item, moment, batch_id, made) for item in items]
        for item, job in zip(items, jobs, strict=True):
            if job.body != body_of(item):
                raise Refused("JV400" if job.row["id"] is None else "JK422")
        new = [job for number, job in enumerate(jobs) if job.row["id"] is None and job not in jobs[:number]]
        self.jobs += new
        self.keys |= made
        if batch_id is not None:
            self.batches[batch_id] = (Moment(), jobs)
        return jobs

    def _job_of(
        self, item: dict[str, Any], moment: Moment, batch_id: UUID | None, made: dict[tuple[str, str], Job]
    ) -> Job:
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

    # Claim

    def claim(  # noqa: PLR0917  # as the function
        self,
        worker_id: str,
        task_types: list[str],
        model_profiles: list[str],
        max_jobs: int,
        lease: timedelta,
        claim_id: str | None,
    ) -> list[Job]:
        wanted = {
            job.queue
            for job in self.living()
            if (not model_profiles or job.queue[0] in model_profiles) and (not task_types or job.queue[1] in task_types)
        }
        if claim_id is not None:
            running = [job for job in self.living("lease") if job.claim_id == claim_id]
            if again := [job for job in running if job.row["worker_id"] == worker_id]:
                for job in again:
                    job.row["updated_at"] = Moment()
                return again
        leased = self._claim(wanted, max_jobs)
        self._lease(leased, worker_id, lease, claim_id)
        if len(leased) < max_jobs and self.recover():
            more = self._claim(wanted, max_jobs - len(leased))
            self._lease(more, worker_id, lease, claim_id)
            leased += more
        return leased

    @staticmethod
    def _lease(jobs: list[Job], worker_id: str, lease: timedelta, claim_id: str | None) -> None:
        for job in jobs:
            moment = job.row["started_at"]
            job.lease, job.claim_id = lease, claim_id
            job.row |= {
                "status": "running",
                "attempt": job.row["attempt"] + 1,
                "worker_id": worker_id,
                "lease_expires_at": moment + lease,
                "updated_at": moment,
            }
            job.attempts.append(
                {"attempt": job.row["attempt"], "worker_id": worker_id, "started_at": moment}
                | dict.fromkeys(("finished_at", "outcome", "error_category", "error_message"))
            )

    def _claim(self, wanted: set[tuple[str, str]], max_jobs: int) -> list[Job]:
        self.promote(wanted)
        claimed: list[Job] = []
        while len(claimed) < max_jobs:
            rooms = {queue: self._room(queue) for queue in wanted}
            limits = [room for room in rooms.values() if room is not None and room > 0]
            waiting = [job for job in self.living("ready") if rooms.get(job.queue, 1) != 0 and job.queue in wanted]
            if not waiting:
                break
            level = max(job.row["priority"] for job in waiting)
            number = min([max_jobs - len(claimed), *limits])
            taken = self._in_turns([job for job in waiting if job.row["priority"] == level], number)
            moment = Moment()
            for job in taken:
                job.place = "lease"
                job.row["started_at"] = moment
            claimed += taken
        return claimed

    def _room(self, queue: tuple[str, str]) -> int | None:
        """How many jobs the queue may give; None is any number."""
        rooms: list[int] = []
        for kind in ("", queue[1]):
            setting = self.settings.get((queue[0], kind), Setting())
            running = [job for job in self.living("lease") if job.queue[0] == queue[0] and kind in {"", job.queue[1]}]
            if setting.paused:
                rooms.append(0)
            elif setting.max_running is not None:
                rooms.append(max(setting.max_running - len(running), 0))
        return min(rooms, default=None)

    def _in_turns(self, waiting: list[Job], number: int) -> list[Job]:
        """Some of the jobs, up to so many: each owner gives one a round, first who was served longest ago."""
        owners = {job.row["owner_service"] for job in waiting}
        reach = -(-number // len(owners))
        lines: dict[str, list[Job]] = {}
        lanes: dict[tuple[str, str, str], int] = {}
        for job in sorted(waiting, key=lambda job: (job.row["run_at"], str(job.row["id"]))):
            lane = (*job.queue, job.row["owner_service"])
            lanes[lane] = lanes.get(lane, 0) + 1
            if lanes[lane] <= reach:
                lines.setdefault(job.row["owner_service"], []).append(job)
        served = {owner: max([self.turns.get(lane, 0) for lane in lanes if lane[2] == owner]) for owner in owners}
        spots = [
            (number, served[owner], owner, job) for owner, line in lines.items() for number, job in enumerate(line)
        ]
        taken = [job for *_, job in sorted(spots, key=lambda spot: spot[:3])][:number]
        for job in taken if len(owners) > 1 else []:
            self.served += 1
            self.turns[*job.queue, job.row["owner_service"]] = self.served
        return taken

    def promote(self, queues: Iterable[tuple[str, str]]) -> None:
        for job in self.living("scheduled"):
            if job.queue in queues and job.row["run_at"] <= self.now:
                job.place = "ready"

    # Settle

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

    def complete(self, job: Job | None, attempt: int | None, worker_id: str | None, result: str) -> Job:
        if job is None or not job.is_held(attempt, worker_id):
            repeated = job is not None and job.status == "completed" and job.result == result
            return self._explained(
                job, attempt, worker_id, repeated=repeated and attempt in {None, job and job.row["attempt"]}
            )
        moment = Moment()
        job.ended("completed", moment)
        job.result = result
        job.finish("completed", moment, result=json.loads(result), usage=None, error_category=None, error_message=None)
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
        self._requeue(job, "released", moment, category, run_at)
        job.lost_leases = 0
        return job

    def _requeue(self, job: Job, outcome: str, moment: Moment, category: str | None, run_at: Time) -> None:
        job.ended(outcome, moment, category, category and "busy")
        if category is not None:
            job.row |= {"error_category": category, "error_message": "busy"}
        job.wait(self.now, run_at)

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
            if "result" in item and job is not None and job.is_held(item["attempt"], None):
                answers[number] = self._settle(job, item)
        for number in order:
            if number not in answers:
                answers[number] = self._settle(*items[number])
        return [answers[number] for number in range(len(items))]

    def _settle(self, job: Job | None, item: dict[str, Any]) -> tuple[str | None, str | None]:
        try:
            if "result" in item:
                settled = self.complete(job, item["attempt"], None, item["result"])
            else:
                words = item["category"], item["message"], item["retryable"], item["after"]
                settled = self.fail(job, item["attempt"], None, *words)
        except Refused as refused:
            return None, str(refused)
        return settled.status, None

    # Step in

    def cancel(self, job: Job | None, reason: str | None) -> Job:
        if job is None or not job.exists:
            raise Refused("JN404")
        if job.status in {"completed", "failed"}:
            raise Refused("JS409")
        if job.status != "cancelled":
            self._cancel([job], reason)
        return job

    def cancel_many(self, matches: Callable[[Job], bool], max_jobs: int | None, reason: str | None) -> list[Job]:
        jobs = [job for job in self.living("ready", "scheduled", "lease") if matches(job)][:max_jobs]
        return self._cancel(jobs, reason)

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
        return self._retry([job])[0]

    def retry_many(self, matches: Callable[[Job], bool], max_jobs: int | None) -> list[Job]:
        jobs = [job for job in self.living() if job.status in {"failed", "running"} and matches(job)]
        return self._retry(jobs[:max_jobs])

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

    # Keep house

    def recover(self, max_jobs: int | None = None) -> list[Job]:
        lost = [job for job in self.living("lease") if is_before(job.row["lease_expires_at"], self.now)][:max_jobs]
        again, ended = Moment(), Moment()
        for job in lost:
            job.lost_leases += 1
            if job.lost_leases < 3:
                self._requeue(job, "lease_expired", again, None, job.row["run_at"])
            else:
                message = LOST.format(job.lost_leases)
                job.ended("lease_expired", ended, "lease_expired", message)
                job.finish("failed", ended, error_category="lease_expired", error_message=message)
        return lost

    def prune(self, retention: timedelta, max_jobs: int) -> int:
        if retention < NO_TIME:
            raise Refused("JV400")
        if not retention:
            return 0
        cutoff = self.now - retention
        old = [job for job in self.living() if job.status in FINAL and is_before(job.row["finished_at"], cutoff)]
        for job in old[:max_jobs]:
            job.exists = False
        self.keys = {key: job for key, job in self.keys.items() if job.exists}
        forgotten = sorted((known(at), batch) for batch, (at, _) in self.batches.items() if known(at) < cutoff)
        for _, batch in forgotten[:max_jobs]:
            if not any(job.exists for job in self.batches[batch][1]):
                del self.batches[batch]
        return len(old[:max_jobs])

    def sweep(self, retention: timedelta) -> None:
        self.recover()
        self.promote({job.queue for job in self.living()})
        self.prune(retention, 1000)

    def next_wake(self) -> Time | None:
        """When the first job becomes due or the first lease runs out."""
        times = [job.row["run_at"] for job in self.living("scheduled")]
        times += [job.row["lease_expires_at"] for job in self.living("lease")]
        return min(times, default=None)


def is_before(time: Time, now: datetime) -> bool:
    """Whether it is over; what the running call makes of the clock is not."""
    return isinstance(time, datetime) and time <= now


def body_of(item: dict[str, Any]) -> Any:  # noqa: ANN401  # anything that can be compared
    """What two bodies with the same key must share."""
    return [
        item["task_type"],
        item["model_profile"],
        item["priority"],
        json.loads(item["input"]),
        item.get("delay"),
        item["max_attempts"],
    ]
