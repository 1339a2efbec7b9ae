"""A thousand jobs cancelled at any moment of their run: while a model thinks, a recording comes, or is decoded."""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from random import Random
from statistics import median
from typing import Final
from uuid import UUID

import anyio
import pytest
from aiohttp import web
from anyio.abc import TaskGroup

from aiserv.database import Database, DatabaseError, is_unavailable
from aiserv.models import CancelJob, Job
from tests.audio_providers import asr, serving
from tests.faults.scale import IS_ALONE, within
from tests.processes import children
from tests.providers import Answer, FakeServer, body, content, fake_provider, trickles
from tests.waiting import until
from tests.workers.audio.recordings import samples, utterances, wav
from tests.workers.chats import chat_at
from tests.workers.running import Db, create, finished, running
from tests.workers.transcription.jobs import executor
from workers.attempt import End
from workers.executors import Outcome

SEED: Final = 20260609
RECORDING: Final = wav(samples([utterances(60, first=1, every=4), utterances(60, first=3, every=4)], 60), channels=2)


class When(Enum):
    """What a job is at when its cancel is on its way."""

    CHATTING = auto()
    FETCHING = auto()
    DECODING = auto()
    HEARD = auto()


JOBS: Final = {When.CHATTING: 920, When.FETCHING: 40, When.DECODING: 20, When.HEARD: 20}
# From the moment that a job is there to its cancel, in seconds at most.
WITHIN: Final = {When.CHATTING: 0.3, When.FETCHING: 0.2, When.DECODING: 0.3, When.HEARD: 0.05}
TROUBLE: Final = "select error_category, error_message from aiserv.attempts where error_category is not null"
ANSWERED_WITHIN: Final = 0.2
# From an answered cancel to the end of its run, in seconds: as promised.
STOPPED_WITHIN: Final = 1


@dataclass
class Cancels:
    """Sends cancels after a while, and remembers how each was answered: a status, or the SQLSTATE of the refusal."""

    database: Database
    tasks: TaskGroup
    random: Random
    whens: dict[UUID, When] = field(default_factory=dict)
    # However slow the machine is, some cancels come after the run, and some before its answer.
    too_late: set[UUID] = field(default_factory=set)
    in_time: set[UUID] = field(default_factory=set)
    answers: dict[UUID, str] = field(default_factory=dict)
    cancelled_at: dict[UUID, float] = field(default_factory=dict)
    stopped_after: list[float] = field(default_factory=list)

    def plan(self, whens: dict[UUID, When]) -> None:
        """What each job is to be at when its cancel is on its way."""
        self.whens = whens
        self.too_late.update([job_id for job_id, when in whens.items() if when is When.CHATTING][::4])
        self.in_time.update([job_id for job_id, when in whens.items() if when is When.HEARD][::2])

    def reached(self, job_id: UUID, when: When) -> None:
        """Cancel the job soon, if this is what it waited for."""
        if self.whens.get(job_id) is when and job_id not in self.too_late:
            self.tasks.start_soon(self._cancel, job_id, self.random.uniform(0, WITHIN[when]))

    async def heard(self, job_id: UUID) -> None:
        """As `reached`; a cancel that is to be in time is answered first."""
        self.reached(job_id, When.HEARD)
        if job_id in self.in_time:
            await until(lambda: job_id in self.answers)

    async def _cancel(self, job_id: UUID, delay: float) -> None:
        await anyio.sleep(delay)
        while job_id not in self.answers:
            try:
                await self.database.cancel_job(job_id, CancelJob(reason="no longer wanted"), actor=None)
                self.answers[job_id] = "cancelled"
                self.cancelled_at[job_id] = anyio.current_time()
            except DatabaseError as refusal:
                # A pool without a free connection, on a busy machine, is no answer: a client calls again.
                if not is_unavailable(refusal):
                    self.answers[job_id] = refusal.sqlstate or ""

    def ended(self, job_id: UUID) -> None:
        """Remember how long the run of a cancelled job went on, and send the cancel that comes after it."""
        if job_id in self.too_late:
            self.tasks.start_soon(self._cancel, job_id, WITHIN[When.CHATTING])
        if job_id in self.cancelled_at:
            self.stopped_after.append(anyio.current_time() - self.cancelled_at[job_id])

    def late(self, answer: Answer) -> Answer:
        """The answer after a while."""

        async def reply(request: web.Request) -> web.StreamResponse:
            await anyio.sleep(self.random.uniform(0, ANSWERED_WITHIN))
            return await answer.reply(request)

        return Answer(reply)


@dataclass
class Files(FakeServer):
    """A server of recordings: under `/slow/` they trickle without end."""

    slow: Answer
    recording: bytes

    async def reply(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/slow/"):
            return await self.slow.reply(request)
        return web.Response(body=self.recording)


def traced(number: int) -> str:
    """The traceparent of a job: it tells a server whose call this is."""
    return f"00-{number + 1:032x}-{1:016x}-01"


@pytest.mark.fault(
    "a thousand jobs are cancelled at any moment of their run",
    "while a model thinks, a recording comes, is decoded, or has just been heard; some cancels come too late",
    "each is cancelled or completed, as its cancel was answered; its run ends within 1 s, its connections are closed",
)
async def test_a_thousand_random_cancels_leave_no_connection_and_no_job_in_a_wrong_state(
    conninfo: str, db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: Callable[[str], None]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    random = Random(SEED)
    traces = dict[str, UUID]()
    order = [when for when, count in JOBS.items() for _ in range(count)]
    random.shuffle(order)

    async def cancel_when_fetched(request: web.Request) -> web.StreamResponse:
        cancels.reached(numbers[int(request.path.rpartition("/")[2])], When.FETCHING)
        return await trickles().reply(request)

    async def cancel_when_heard(request: web.Request) -> web.StreamResponse:
        await cancels.heard(traces[request.headers["traceparent"]])
        return await cancels.late(body('{"segments": [], "language": "ru"}')).reply(request)

    async with (
        fake_provider() as model,
        serving(asr()) as whisperx,
        Files(Answer(cancel_when_fetched), RECORDING).listening() as files,
        chat_at(model.base_url) as chat,
        executor(WHISPERX_URL=whisperx.url, AUDIO_URL_ALLOWED_HOSTS="127.0.0.1") as transcription,
        Database.open(conninfo, size=4, name="cancels") as database,
        anyio.create_task_group() as tasks,
    ):
        cancels = Cancels(database, tasks, random)
        model.answers(cancels.late(content("Hello.")))
        whisperx.instead = Answer(cancel_when_heard)
        numbers = create_all(db, order, files.url)
        cancels.plan(dict(zip(numbers, order, strict=True)))
        traces.update({traced(n): job_id for n, job_id in enumerate(numbers)})

        async def execute(job: Job) -> Outcome:
            cancels.reached(job.id, When.CHATTING)
            cancels.reached(job.id, When.DECODING)
            try:
                return await (chat if job.task_type == "llm_chat" else transcription)(job)
            finally:
                cancels.ended(job.id)

        task_types, model_profiles = ["llm_chat", "transcription"], ["qwen", "whisperx"]
        async with running(conninfo, execute, slots=24, task_types=task_types, model_profiles=model_profiles) as worker:
            while (answered := len(cancels.answers)) < len(order):
                await until(lambda: len(cancels.answers) > answered)
            await until(lambda: not worker.attempts)
            ends = Counter(worker.record.ends)
            await until(lambda: model.connections + whisperx.connections + files.connections == 0)
            await until(lambda: not children("decoder.py") and not list(tmp_path.iterdir()))
            # All slots are free again.
            last_id = create(db, {"user": "Still there?"})
            assert (await finished(db, last_id))["status"] == "completed"

    shown = db.execute("select id, status, attempt, failures from aiserv.jobs where id <> %s", [last_id]).fetchall()
    assert {job["id"]: job["status"] for job in shown} == {
        job_id: {"cancelled": "cancelled", "JS409": "completed"}[answer] for job_id, answer in cancels.answers.items()
    }
    assert {(job["attempt"], job["failures"]) for job in shown} == {(1, 0)}, db.execute(TROUBLE).fetchall()
    statuses = Counter(job["status"] for job in shown)
    assert ends == {End.LEASE_LOST: statuses["cancelled"], End.COMPLETED: statuses["completed"]}
    # Of all that could happen everything did.
    assert min(statuses.values()) > 50, statuses
    cancelled = Counter(cancels.whens[job["id"]] for job in shown if job["status"] == "cancelled")
    assert all(cancelled[when] for when in When), cancelled
    assert cancelled[When.FETCHING] == JOBS[When.FETCHING]
    measured(f"{statuses['cancelled']} cancelled, {statuses['completed']} completed before")
    measured(f"runs ended after {median(cancels.stopped_after):.2f} s, {max(cancels.stopped_after):.2f} s at most")
    # A cancel that nobody heard of comes to light when leases are renewed, every 20 seconds.
    assert median(cancels.stopped_after) < (STOPPED_WITHIN if IS_ALONE else 5 * STOPPED_WITHIN)
    assert max(cancels.stopped_after) < within(STOPPED_WITHIN)
    for table in ("ready", "scheduled", "lease"):
        assert db.execute(f"select from aiserv.{table}").fetchall() == []
    differing = db.execute(
        """
        select job.id, job.status, attempt.outcome
        from aiserv.jobs as job cross join lateral aiserv.list_attempts(job.id) as attempt
        where attempt.outcome is distinct from job.status
        """
    ).fetchall()
    assert differing == []


def create_all(db: Db, order: list[When], url: str) -> list[UUID]:
    """The jobs, in this order."""
    ids = []
    with db.transaction():
        for n, when in enumerate(order):
            if when is When.CHATTING:
                ids.append(create(db, {"user": "Hello?"}))
                continue
            path = f"slow/{n}" if when is When.FETCHING else "call.wav"
            ids.append(
                create(
                    db,
                    {"audio_url": f"{url}/{path}"},
                    task_type="transcription",
                    model_profile="whisperx",
                    traceparent=traced(n),
                )
            )
    return ids
