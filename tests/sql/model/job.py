"""A job as the model knows it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.sql.model.moments import NO_TIME, Moment, Time

FINAL = {"completed", "failed", "cancelled"}


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

    def requeue(self, outcome: str, moment: Moment, category: str | None, run_at: Time, now: datetime) -> None:
        """End the attempt unharmed: pending again, with what kept it from going on."""
        self.ended(outcome, moment, category, category and "busy")
        if category is not None:
            self.row |= {"error_category": category, "error_message": "busy"}
        self.wait(now, run_at)


def is_before(time: Time, now: datetime) -> bool:
    """Whether it is over; what the running call makes of the clock is not."""
    return isinstance(time, datetime) and time <= now
