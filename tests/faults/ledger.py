"""What the service has acknowledged, and whether PostgreSQL still says the same afterwards."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from uuid import UUID

import anyio

from tests.faults.postgres import Db

MAX_LOST_LEASES = 3
JOBS = """
    select
        job.id, job.owner_ref, job.status, job.result, job.attempt, job.error_category,
        coalesce(
            (select array_agg(row(own.attempt, own.outcome)::text order by own.attempt)
             from aiserv.attempts as own where own.job_id = job.id),
            '{}'
        ) as attempts
    from aiserv.jobs as job
"""


@dataclass
class Ledger:
    """Written by whoever sends requests, as soon as the answer is there. A job is known by its `owner_ref`, a name
    that no other has: so it is also known when its creation was never answered.
    """

    asked: set[str] = field(default_factory=set)
    batches: list[list[str]] = field(default_factory=list)
    created: dict[UUID, str] = field(default_factory=dict)
    results: dict[UUID, str] = field(default_factory=dict)
    cancelled: set[UUID] = field(default_factory=set)
    retried: Counter[UUID] = field(default_factory=Counter)
    # How an attempt over HTTP ended, by its job and its number.
    ended: dict[tuple[UUID, int], str] = field(default_factory=dict)
    # What was executed by workers over HTTP; the provider counts for the others.
    executions: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """Requests that were answered with a success."""
        return len(self.created) + len(self.results) + len(self.cancelled) + self.retried.total() + len(self.ended)

    def was_created(self, shown: dict[str, Any], name: str) -> None:
        """A creation was acknowledged: again the same one, if it had been before."""
        job_id = UUID(shown["id"])
        self._expect(self.created.setdefault(job_id, name) == name, f"{name}: the id of another job, {job_id}")
        self.was_read(shown)

    def was_cancelled(self, shown: dict[str, Any]) -> None:
        self._expect(shown["status"] == "cancelled", f"{shown['id']}: cancelled, and shown as {shown['status']}")
        self.cancelled.add(UUID(shown["id"]))

    def was_ended(self, attempt: tuple[UUID, int], outcome: str, shown: dict[str, Any]) -> None:
        """A worker was told that its attempt is over: `completed`, `released`, `retrying` or `failed`."""
        self._expect(self.ended.setdefault(attempt, outcome) == outcome, f"{attempt}: ended twice, now {outcome}")
        self.was_read(shown)

    def was_read(self, shown: dict[str, Any]) -> None:
        """A job was shown: if it was completed, whoever looks later must see the same result."""
        if shown["status"] == "completed":
            job_id, seen = UUID(shown["id"]), digest(shown["result"])
            self._expect(self.results.setdefault(job_id, seen) == seen, f"{job_id}: its result has changed")

    def _expect(self, is_true: bool, violation: str) -> None:  # noqa: FBT001 - as assert
        if not is_true:
            self.violations.append(violation)

    def compare(self, db: Db, executions: Counter[str]) -> None:
        """Compare everything with the tables, once the service is at rest."""
        rows = db.execute(JOBS).fetchall()
        by_id = {row["id"]: row for row in rows}
        names = Counter(row["owner_ref"] for row in rows)

        self._expect(names.keys() <= self.asked, "there are jobs that nobody asked for")
        for name, times in names.items():
            self._expect(times == 1, f"{name}: created {times} times")
        for job_id, name in self.created.items():
            self._expect(job_id in by_id and by_id[job_id]["owner_ref"] == name, f"{name}: acknowledged, and lost")
        for batch in self.batches:
            there = sum(name in names for name in batch)
            self._expect(there in {0, len(batch)}, f"{batch[0]}: {there} of a batch of {len(batch)}")
        for (job_id, number), outcome in self.ended.items():
            kept = dict(endings(by_id[job_id])).get(number) if job_id in by_id else None
            self._expect(kept == outcome, f"{job_id}: attempt {number} was acknowledged as {outcome}, and is {kept}")
        for row in rows:
            self._compare_job(row, (self.executions + executions)[row["owner_ref"]])
        self._compare_counters(db)

    def _compare_job(self, row: dict[str, Any], executed: int) -> None:
        name, status = row["owner_ref"], row["status"]
        finished = status in {"completed", "failed", "cancelled"}
        self._expect(finished, f"{name}: stuck, {status} at attempt {row['attempt']}")
        if row["id"] in self.results:
            same = status == "completed" and digest(row["result"]) == self.results[row["id"]]
            self._expect(same, f"{name}: shown as completed, and changed afterwards")
        if row["id"] in self.cancelled:
            self._expect(status == "cancelled", f"{name}: its cancel was acknowledged, and it is {status}")
        if status == "completed":
            self._expect(row["result"]["content"] == name, f"{name}: has the result of another job")
        outcomes = endings(row)
        numbers = [number for number, _ in outcomes]
        self._expect(numbers == list(range(1, row["attempt"] + 1)), f"{name}: {row['attempt']} attempts, and {numbers}")
        kinds = [outcome for _, outcome in outcomes]
        self._expect(executed <= row["attempt"], f"{name}: executed {executed} times in {row['attempt']} attempts")
        self._expect(kinds.count("completed") == (status == "completed"), f"{name}: {status}, by {kinds}")
        self._expect("completed" not in kinds[:-1], f"{name}: ran on after its completion, {kinds}")
        retries = sum(before == "failed" for before, _ in pairwise(kinds))
        self._expect(retries <= self.retried[row["id"]], f"{name}: retried though nobody asked, {kinds}")
        if status == "failed" and row["error_category"] == "lease_expired":
            lost = kinds[-MAX_LOST_LEASES:] == ["lease_expired"] * MAX_LOST_LEASES
            self._expect(lost, f"{name}: given up after {kinds}")

    def _compare_counters(self, db: Db) -> None:
        row = db.execute("select aiserv.stats()::jsonb -> 'queue' as queue").fetchone()
        assert row
        counts = Counter({status["status"]: status["count"] for status in db.execute(
            "select job.status, count(*) from aiserv.jobs as job group by job.status"
        )})  # fmt: skip
        counted = {
            status: row["queue"][status] for status in ("pending", "running", "completed", "failed", "cancelled")
        }
        self._expect(counted == {status: counts[status] for status in counted}, f"counters {counted}, jobs {counts}")


def endings(row: dict[str, Any]) -> list[tuple[int, str]]:
    """The number and the outcome of each attempt of a job."""
    pairs = [attempt.strip("()").split(",") for attempt in row["attempts"]]
    return [(int(number), outcome) for number, outcome in pairs]


def digest(result: object) -> str:
    """Short, and the same for the same JSON."""
    return hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()


async def at_rest(db: Db, seconds: float) -> None:
    """Wait until no job is pending or running."""
    with anyio.fail_after(seconds):
        while True:
            row = db.execute("select aiserv.stats()::jsonb -> 'queue' as queue").fetchone()
            assert row
            if row["queue"]["pending"] == row["queue"]["running"] == 0:
                return
            await anyio.sleep(0.05)
