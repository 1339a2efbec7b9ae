"""What holds a queue back: pauses, limits, and providers in trouble."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from tests.sql.model.books import Action, Books, Setting, Trouble
from tests.sql.model.job import Job, is_before
from tests.sql.model.moments import Moment, Time, known

Queue = tuple[str, str]


class Limits(Books):
    """Predicts set_queue and report_provider. The provider of a queue is that of its model profile's name."""

    def set_queue(self, profile: str, kind: str | None, change: dict[str, object]) -> Setting:
        setting = self.settings.setdefault((profile, kind or ""), Setting())
        old = replace(setting)
        if "paused" in change:
            until = change.get("paused_until")
            setting.paused = change["paused"] is True and until is None
            setting.paused_until = until  # type: ignore[assignment]  # a time or none
        if "max_running" in change:
            setting.max_running = change["max_running"]  # type: ignore[assignment]  # a number or none
        if "requests_per_minute" in change:
            before = setting.requests
            setting.requests = change["requests_per_minute"]  # type: ignore[assignment]  # as above
            if setting.requests is not None:
                setting.left = setting.requests if before is None else min(setting.left, setting.requests)
        pairs = {
            "paused": (old.is_paused(self.now), setting.is_paused(self.now)),
            "paused_until": (old.paused_until, setting.paused_until),
            "max_running": (old.max_running, setting.max_running),
            "requests_per_minute": (old.requests, setting.requests),
        }
        if changes := {name for name, (before, after) in pairs.items() if before != after}:
            self.actions.append(Action("set_queue", None, (profile, kind), changes))
        return setting

    def refill(self, profiles: list[str]) -> None:
        """All time that passes is longer than a minute: what it fills is full."""
        for (profile, _), setting in self.settings.items():
            if setting.rested and (not profiles or profile in profiles):
                setting.left, setting.rested = setting.requests or 0, False

    def spend(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            for setting in self._settings_of(job.queue):
                setting.left -= 1

    def room(self, queue: Queue) -> int | None:
        """How many jobs the queue may give; None is any number."""
        rooms: list[int] = []
        for kind in ("", queue[1]):
            setting = self.settings.get((queue[0], kind), Setting())
            running = [job for job in self.living("lease") if job.queue[0] == queue[0] and kind in {"", job.queue[1]}]
            if setting.is_paused(self.now):
                rooms.append(0)
            if setting.max_running is not None:
                rooms.append(max(setting.max_running - len(running), 0))
            if setting.requests is not None:
                rooms.append(max(setting.left, 0))
        return min(rooms, default=None)

    def report(
        self, name: str, category: str | None, retry_after: timedelta, job: Job | None, attempt: int | None
    ) -> Time | None:
        """Until when the provider pauses."""
        self.end_probes()
        if category is None:
            self.troubles.pop(name, None)
            return None
        until = Moment() + retry_after
        trouble = self.troubles.get(name)
        if trouble is None:
            trouble = self.troubles[name] = Trouble(1, until)
        elif trouble.probe == (job, attempt) if job is not None else is_before(trouble.paused_until, self.now):
            trouble.pauses += 1
            trouble.paused_until, trouble.probe = until, None
        elif known(trouble.paused_until) < self.now + retry_after:
            trouble.paused_until = until
        return trouble.paused_until

    def end_probes(self) -> None:
        """A probe that has completed makes its provider well; one that ended otherwise lets another go."""
        for name, trouble in list(self.troubles.items()):
            if trouble.probe is None or trouble.probe[0].is_held(trouble.probe[1], None):
                continue
            job, attempt = trouble.probe
            trouble.probe = None
            if job.status == "completed" and job.row["attempt"] == attempt:
                del self.troubles[name]

    def may_probe(self, name: str) -> bool:
        trouble = self.troubles[name]
        return trouble.probe is None and is_before(trouble.paused_until, self.now)

    def _settings_of(self, queue: Queue) -> list[Setting]:
        return [
            setting
            for (profile, kind), setting in self.settings.items()
            if profile == queue[0] and kind in {"", queue[1]}
        ]
