"""People pause queues and limit them, providers get into trouble, and callers must not fill the queues."""

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis.stateful import rule

from tests.sql.model.compared import Compared
from tests.sql.model.create_rules import PROFILES, SOME, TYPES
from tests.sql.model.moments import known, learn

if TYPE_CHECKING:
    from tests.sql.model.job import Job

MINUTE = timedelta(minutes=1)
CHANGES: list[dict[str, Any]] = [
    {"paused": True},
    {"paused": True, "paused_until": 20 * MINUTE},
    {"paused": False},
    {"max_running": 0},
    {"max_running": 2},
    {"max_running": None},
    {"requests_per_minute": 1},
    {"requests_per_minute": 3},
    {"requests_per_minute": None},
]


class QueueRules(Compared):
    @rule(profile=SOME(PROFILES), kind=SOME([None, *TYPES]), change=SOME(CHANGES), short=SOME([True, False]))
    def set_queue(self, profile: str, kind: str | None, change: dict[str, Any], short: bool) -> None:  # noqa: FBT001  # hypothesis passes names
        if "paused_until" in change:
            change = change | {"paused_until": self.clock() + change["paused_until"]}
        function, arguments = "set_queue", dict(change)
        if short and "paused" in change:
            function = "pause_queue" if arguments.pop("paused") else "resume_queue"
        setting, (shown,), window = self.both(
            partial(self.model.set_queue, profile, kind, change),
            function,
            model_profile=profile,
            task_type=kind,
            **arguments,
        )
        jobs = [job for job in self.model.living("ready", "scheduled", "lease") if job.is_of(profile, kind)]
        running = [job for job in jobs if job.place == "lease"]
        trouble = self.model.troubles.get(profile)
        ends = [setting.paused_until, trouble and not setting.paused and known(trouble.paused_until)]
        assert shown["paused"] == (setting.is_paused(self.model.now) or trouble is not None)
        assert shown["paused_until"] == max((end for end in ends if end), default=None)
        assert (shown["max_running"], shown["requests_per_minute"]) == (setting.max_running, setting.requests)
        assert (shown["pending"], shown["running"]) == (len(jobs) - len(running), len(running))
        self.look(window)

    @rule(
        provider=SOME(PROFILES),
        category=SOME([None, "busy", "busy", "busy"]),
        retry_after=SOME([8 * MINUTE, 30 * MINUTE]),
        by=SOME(["nobody", "the probe", "the probe", "an attempt"]),
    )
    def report(self, provider: str, category: str | None, retry_after: timedelta, by: str) -> None:
        job: Job | None = None
        attempt: int | None = None
        trouble = self.model.troubles.get(provider)
        if by == "the probe" and trouble and trouble.probe:
            job, attempt = trouble.probe
        elif by == "an attempt" and self.issued:
            job, attempt, _ = self.issued[-1]
        until, (shown,), window = self.both(
            partial(self.model.report, provider, category, retry_after, job, attempt),
            "report_provider",
            provider=provider,
            category=category,
            message="busy",
            retry_after=retry_after,
            job_id=job and job.row["id"],
            attempt=attempt,
        )
        learn(until, shown["report_provider"], window)
        assert shown["report_provider"] == known(until)
        self.look(window)

    @rule(total=SOME([None, None, 4, 8]), of_an_owner=SOME([None, None, 2, 5]))
    def cap(self, total: int | None, of_an_owner: int | None) -> None:
        self.set_caps(total, of_an_owner)
