"""Queues, workers and numbers."""

from typing import Literal

from aiserv.answers.base import Answer, Count
from aiserv.fields import Id, Time


class QueueAnswer(Answer):
    """A model profile, or one task type of it."""

    model_profile: str
    task_type: str | None
    paused: bool
    paused_until: Time | None
    pause_reason: str | None
    max_running: Count | None
    requests_per_minute: Count | None
    tokens_per_minute: Count | None
    running: Count
    pending: Count


class QueuesAnswer(Answer):
    """Queues that have unfinished jobs or settings."""

    queues: list[QueueAnswer]


class HeldJob(Answer):
    """A job that a worker holds."""

    id: Id
    attempt: Count


class WorkerAnswer(Answer):
    """One start of a built-in worker, or one name of a worker over HTTP."""

    worker_id: str
    instance_id: Id
    kind: Literal["builtin", "http"]
    task_types: list[str]
    model_profiles: list[str]
    slots: Count | None
    owner_service: str | None
    busy: Count
    last_seen_at: Time
    state: Literal["live", "lost"]
    jobs: list[HeldJob]


class WorkersAnswer(Answer):
    """Who claims."""

    workers: list[WorkerAnswer]


class StatsQueue(Answer):
    """Jobs by state; `scheduled` are those of the pending ones that are not due yet."""

    pending: Count
    scheduled: Count
    running: Count
    completed: Count
    failed: Count
    cancelled: Count
    total: Count


class StatsGroup(Answer):
    """The numbers of one owner, task type and model profile."""

    owner_service: str
    task_type: str
    model_profile: str
    pending: Count
    running: Count
    completed: Count
    failed: Count
    cancelled: Count
    oldest_pending_seconds: float | None


class StatsBacklog(Answer):
    """The due jobs of queues that are not paused."""

    pending: Count
    oldest_pending_seconds: float | None
    drain_seconds: float | None


class Unserved(Answer):
    """Work that no live worker takes."""

    task_type: str
    model_profile: str
    pending: Count


class StatsAnswer(Answer):
    """The numbers of jobs."""

    queue: StatsQueue
    errors: dict[str, Count]
    groups: list[StatsGroup]
    backlog: StatsBacklog
    unserved: list[Unserved]
    generated_at: Time
