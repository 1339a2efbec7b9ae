"""Who gets which jobs."""

from datetime import timedelta

from tests.sql.model.books import Setting
from tests.sql.model.job import Job
from tests.sql.model.keeps import Keeps
from tests.sql.model.moments import Moment


class Claims(Keeps):
    """Predicts claim_jobs, which keeps house on its way."""

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
