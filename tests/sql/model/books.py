"""What the model remembers: jobs, keys, batches, caps, settings, providers in trouble and turns."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tests.sql.model.job import Job
from tests.sql.model.moments import Moment, Time, known, older_id

Key = tuple[str, str]


@dataclass
class Batch:
    """`key` and `body` are those that it was asked for with."""

    created_at: Time
    jobs: list[Job]
    key: Key | None
    body: Any


@dataclass
class Setting:
    """Of a model profile or one task type of it. `left` requests may go until time has passed; `rested`: it has."""

    paused: bool = False
    paused_until: datetime | None = None
    max_running: int | None = None
    requests: int | None = None
    left: int = 0
    rested: bool = False

    def is_paused(self, now: datetime) -> bool:
        return self.paused or (self.paused_until is not None and self.paused_until > now)


@dataclass
class Trouble:
    """Of a provider; its probe is a job and the number of an attempt."""

    pauses: int
    paused_until: Time
    probe: tuple[Job, int] | None = None


@dataclass
class Action:
    """Somebody stepped in: what it reached is jobs, or the settings of a queue that it changed."""

    action: str
    jobs: list[Job] | None = None
    queue: tuple[str | None, str | None] = (None, None)
    changes: set[str] | None = None
    reason: str | None = None
    acted_at: Time = field(default_factory=Moment)


@dataclass
class Books:
    """Everything that the functions have written, and whose turn it is."""

    now: datetime
    jobs: list[Job] = field(default_factory=list)
    keys: dict[Key, Job] = field(default_factory=dict)
    batches: dict[UUID, Batch] = field(default_factory=dict)
    settings: dict[tuple[str, str], Setting] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    # How many jobs may wait: of all owners, and of each.
    caps: tuple[int | None, int | None] = (None, None)
    turns: dict[tuple[str, str, str], int] = field(default_factory=dict)
    served: int = 0
    # Batches that may have been forgotten or not: nobody promises which.
    fading: set[UUID] = field(default_factory=set)
    actions: list[Action] = field(default_factory=list)

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
        for batch in self.batches.values():
            batch.created_at = known(batch.created_at)
        for trouble in self.troubles.values():
            trouble.paused_until = known(trouble.paused_until)
        for action in self.actions:
            action.acted_at = known(action.acted_at)

    def grow_older(self, by: timedelta) -> None:
        """Let time pass: everything was so much earlier, and ids, which are made of the time, say so, too."""

        def older(value: object) -> object:
            return value - by if isinstance(value, datetime) else value

        for job in self.jobs:
            job.row = {name: older(value) for name, value in job.row.items()}
            job.row["id"] = older_id(job.row["id"], by)
            job.attempts = [{name: older(value) for name, value in row.items()} for row in job.attempts]
            job.first_claim_at = older(job.first_claim_at)  # type: ignore[assignment]  # a time stays one
        for batch in self.batches.values():
            batch.created_at = older(batch.created_at)  # type: ignore[assignment]  # as above
        for setting in self.settings.values():
            setting.paused_until = older(setting.paused_until)  # type: ignore[assignment]  # as above
            setting.rested = True
        for trouble in self.troubles.values():
            trouble.paused_until = older(trouble.paused_until)  # type: ignore[assignment]  # as above
        for action in self.actions:
            action.acted_at = older(action.acted_at)  # type: ignore[assignment]  # as above

    def reached(self, action: str, jobs: list[Job], reason: str | None = None, profile: str | None = None) -> list[Job]:
        """The jobs, which somebody stepped in for; for none there is nothing to remember."""
        if jobs:
            self.actions.append(Action(action, jobs, (profile, None), reason=reason))
        return jobs

    def fade(self, shown: set[UUID]) -> None:
        """Forget what may have been forgotten, and was."""
        for batch_id in self.fading - shown:
            del self.batches[batch_id]
        self.fading.clear()
