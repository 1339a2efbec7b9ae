"""One attempt in progress: the job, why its run was stopped if it was, and how it can end."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum, auto
from uuid import UUID

import anyio

from aiserv.models import Job


class Stop(Enum):
    """Why a run was stopped before it ended."""

    LOST = auto()  # cancelled, or taken away: its result is of no use
    SHUTDOWN = auto()  # the worker goes: somebody else shall do the job


class End(StrEnum):
    """What became of an attempt."""

    COMPLETED = auto()
    FAILED = auto()
    RELEASED = auto()
    LEASE_LOST = auto()


@dataclass(slots=True)
class Attempt:
    """A run of a job that can be stopped until it has been executed, and not any more while it is settled."""

    job: Job
    # Once it is executed: the scope in which that is done.
    scope: anyio.CancelScope | None = None
    stopped: Stop | None = None
    executed: bool = False
    started: float = 0.0  # by time.monotonic()
    lease_expires_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.lease_expires_at = self.job.lease_expires_at

    @property
    def key(self) -> tuple[UUID, int]:
        """What PostgreSQL knows it by: a job can be here twice, when it was retried while it ran."""
        return self.job.id, self.job.attempt

    def stop(self, reason: Stop) -> None:
        """Stop the run: the connection to the provider closes. Does nothing once it has ended."""
        if not self.executed and self.stopped is None:
            self.stopped = reason
            if self.scope:
                self.scope.cancel()
