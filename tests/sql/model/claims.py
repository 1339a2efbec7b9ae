"""Who gets which jobs."""

from dataclasses import dataclass
from datetime import timedelta

from tests.sql.model.job import Job
from tests.sql.model.keeps import Keeps
from tests.sql.model.limits import Queue
from tests.sql.model.moments import Moment


@dataclass
class Wanted:
    """What a claim asks for: nothing named means any."""

    task_types: list[str]
    model_profiles: list[str]
    queues: dict[str, list[str]] | None = None
    owner: str | None = None

    def takes(self, queue: Queue) -> bool:
        profile, kind = queue
        return (
            (not self.model_profiles or profile in self.model_profiles)
            and (not self.task_types or kind in self.task_types)
            and kind in (self.queues or {}).get(profile, [kind])
        )

    def is_for(self, job: Job) -> bool:
        return self.owner in {None, job.row["owner_service"]}


class Claims(Keeps):
    """Predicts claim_jobs, which keeps house on its way."""

    def claim(self, worker_id: str, wanted: Wanted, max_jobs: int, lease: timedelta, claim_id: str | None) -> list[Job]:
        if claim_id is not None:
            running = [job for job in self.living("lease") if job.claim_id == claim_id and wanted.is_for(job)]
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

    def _claim(self, wanted: Wanted, max_jobs: int) -> list[Job]:
        queues = self._queues(wanted)
        self.promote(queues)
        self.refill(wanted.model_profiles)
        self.end_probes()
        ready = {job.queue[0] for job in self.living("ready") if job.queue in queues}
        probed = {name for name in self.troubles.keys() & ready if self.may_probe(name)}
        claimed: list[Job] = []
        while len(claimed) < max_jobs:
            rooms = {queue: room for queue in queues if (room := self._room_beside(queue, probed)) != 0}
            waiting = [job for job in self.living("ready") if job.queue in rooms and wanted.is_for(job)]
            if not waiting:
                break
            level = max(job.row["priority"] for job in waiting)
            number = min([max_jobs - len(claimed), *(room for room in rooms.values() if room is not None)])
            waiting = [job for job in waiting if job.row["priority"] == level]
            # Lanes are those of the jobs there are; for one owner alone each queue is one, whatever it holds.
            lanes = len(rooms) if wanted.owner else len({(job.queue, job.row["owner_service"]) for job in waiting})
            taken = self._in_turns(waiting, number, has_turns=lanes > 1)
            moment = Moment()
            for job in taken:
                job.place = "lease"
                job.row["started_at"] = moment
            self.spend(taken)
            for job in sorted(taken, key=lambda job: str(job.row["id"])):
                if job.queue[0] in probed:
                    self.troubles[job.queue[0]].probe = job, job.row["attempt"] + 1
                    probed.remove(job.queue[0])
            claimed += taken
        return claimed

    def _queues(self, wanted: Wanted) -> set[Queue]:
        """Those that were named, or else those that hold pending jobs."""
        named = {(profile, kind) for profile in wanted.model_profiles for kind in wanted.task_types}
        queues = named or {job.queue for job in self.living("ready", "scheduled")}
        return {queue for queue in queues if wanted.takes(queue)}

    def _room_beside(self, queue: Queue, probed: set[str]) -> int | None:
        """How many jobs the queue may give while its provider may be in trouble: one probe, or none."""
        room = self.room(queue)
        if queue[0] in self.troubles:
            probe = int(queue[0] in probed)
            return probe if room is None else min(room, probe)
        return room

    def _in_turns(self, waiting: list[Job], number: int, *, has_turns: bool) -> list[Job]:
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
        for job in taken if has_turns else []:
            self.served += 1
            self.turns[*job.queue, job.row["owner_service"]] = self.served
        return taken
