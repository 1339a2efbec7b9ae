"""Housekeeping: what nobody asks for by name."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from tests.sql.model.job import FINAL, Job, Refused, is_before
from tests.sql.model.limits import Limits
from tests.sql.model.moments import NO_TIME, Moment, Time, known

MONTH = timedelta(days=30)
LOST = "{} leases in a row expired: the workers that ran it died or were cut off"


class Keeps(Limits):
    """Predicts recover_jobs, prune_jobs, delete_jobs, sweep and next_wake, and the promotion of what is due."""

    def promote(self, queues: Iterable[tuple[str, str]]) -> None:
        for job in self.living("scheduled"):
            if job.queue in queues and job.row["run_at"] <= self.now:
                job.place = "ready"

    def recover(self, max_jobs: int | None = None) -> list[Job]:
        lost = [job for job in self.living("lease") if is_before(job.row["lease_expires_at"], self.now)][:max_jobs]
        again, ended = Moment(), Moment()
        for job in lost:
            job.lost_leases += 1
            if job.lost_leases < 3:
                job.requeue("lease_expired", again, None, job.row["run_at"], self.now)
            else:
                message = LOST.format(job.lost_leases)
                job.ended("lease_expired", ended, "lease_expired", message)
                job.finish("failed", ended, error_category="lease_expired", error_message=message)
        return lost

    def prune(self, retention: timedelta, max_jobs: int) -> int:
        return len(self.reached("delete", self._prune(retention, max_jobs)))

    def delete(self, profile: str, max_jobs: int) -> int:
        """Finished jobs of the profile, by task type and the latest first, and their batches without jobs."""
        finished = [job for job in self.living() if job.queue[0] == profile and job.status in FINAL]
        chosen = sorted(finished, key=lambda job: (job.queue[1], -job.row["id"].int))[:max_jobs]
        self._delete(self.reached("delete", chosen, profile=profile))
        for batch_id in {job.row["batch_id"] for job in chosen} & self.batches.keys():
            if not any(job.exists for job in self.batches[batch_id].jobs):
                del self.batches[batch_id]
        return len(chosen)

    def _prune(self, retention: timedelta, max_jobs: int) -> list[Job]:
        if retention < NO_TIME:
            raise Refused("JV400")
        if not retention:
            return []
        cutoff = self.now - retention
        old = [job for job in self.living() if job.status in FINAL and is_before(job.row["finished_at"], cutoff)]
        self._delete(old[:max_jobs])
        self._forget(cutoff, max_jobs)
        self._forget_actions(cutoff, max_jobs)
        return old[:max_jobs]

    def _delete(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            job.exists = False
        self.keys = {key: job for key, job in self.keys.items() if job.exists}

    def _forget(self, cutoff: datetime, most: int) -> None:
        """Forget old batches without jobs, of the oldest few, or else of others."""
        old = sorted(
            (known(batch.created_at), batch_id)
            for batch_id, batch in self.batches.items()
            if known(batch.created_at) < cutoff
        )
        empty = {batch_id for _, batch_id in old if not any(job.exists for job in self.batches[batch_id].jobs)}
        first = {batch_id for _, batch_id in old[:most]}
        for batch_id in empty & first:
            del self.batches[batch_id]
        if len(first) == most and not empty & first:
            self.fading = empty

    def _forget_actions(self, cutoff: datetime, most: int) -> None:
        """The oldest; those of a month stay, whatever whoever prunes wants."""
        oldest = sorted(self.actions, key=lambda action: known(action.acted_at))
        before = min(cutoff, self.now - MONTH)
        self.actions = [action for action in oldest[:most] if not is_before(action.acted_at, before)] + oldest[most:]

    def sweep(self, retention: timedelta) -> None:
        self.recover()
        self.promote({job.queue for job in self.living()})
        self._prune(retention, 1000)

    def next_wake(self) -> Time | None:
        """When the first job becomes due, the first lease runs out, a pause ends, or a provider may be probed."""
        times = [job.row["run_at"] for job in self.living("scheduled")]
        times += [job.row["lease_expires_at"] for job in self.living("lease")]
        pending = {job.queue for job in self.living("ready", "scheduled")}
        times += [
            setting.paused_until
            for (profile, kind), setting in self.settings.items()
            if not setting.paused and setting.is_paused(self.now)
            if any(queue[0] == profile and kind in {"", queue[1]} for queue in pending)
        ]
        self.end_probes()
        times += [
            trouble.paused_until
            for name, trouble in self.troubles.items()
            if trouble.probe is None and known(trouble.paused_until) > self.now - timedelta(minutes=1)
            if any(queue[0] == name and self.room(queue) != 0 for queue in {job.queue for job in self.living("ready")})
        ]
        return min(times, default=None)
