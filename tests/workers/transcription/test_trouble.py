"""Providers in trouble beside others that are well: only they are left alone, until one job has probed them."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
from pydantic import JsonValue

from aiserv.database import Database
from tests.audio_providers import AudioProvider, asr, serving, voxtral
from tests.providers import refuses
from tests.waiting import SOON, until
from tests.workers.running import Db, create, finished, heard, job, meddler, running
from tests.workers.transcription.jobs import SHORT, settings_of, urls
from workers.attempt import End
from workers.executors.pauses import pauses_of
from workers.executors.transcription import Transcription
from workers.worker import Worker

NAMES = ["whisperx", "voxtral-small"]
RECORDING = base64.b64encode(SHORT).decode()


@asynccontextmanager
async def working(conninfo: str, **providers: AudioProvider) -> AsyncIterator[Worker]:
    """A worker whose profile `whisperx` has two providers, of which these are set up."""
    set_up = {name.replace("_", "-"): provider for name, provider in providers.items()}
    settings = settings_of(TRANSCRIPTION_PROVIDERS=",".join(NAMES), **urls(set_up))
    options = {"task_types": ["transcription"], "model_profiles": NAMES, "providers": {"whisperx": NAMES}}
    async with (
        Database.open(conninfo, size=1, name="executor") as database,
        Transcription(settings, pauses=pauses_of(database)) as transcription,
        running(conninfo, transcription, listen="", slots=2, **options) as worker,
    ):
        yield worker


def transcribe(db: Db, profile: str = "whisperx", **options: JsonValue) -> UUID:
    return create(db, {"audio_base64": RECORDING, **options}, task_type="transcription", model_profile=profile)


def attempts_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(tried["provider"], tried["status"]) for tried in row["result"]["attempts"]]


def troubled(db: Db) -> list[str]:
    return [row["name"] for row in db.execute("select name from aiserv.providers").fetchall()]


async def test_trouble_of_one_provider_pauses_that_one_alone(conninfo: str, db: Db) -> None:
    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        whisperx.instead = refuses(429, "later", headers={"Retry-After": "3600"})
        async with working(conninfo, whisperx=whisperx, voxtral_small=vox):
            rows = [await finished(db, transcribe(db)) for _ in range(3)]
            alone = await finished(db, transcribe(db, "voxtral-small"))

    assert [attempts_of(row) for row in rows] == [[("whisperx", "failed"), ("voxtral-small", "completed")]] * 3
    assert {row["attempt"] for row in rows} == {1}
    errors = [row["result"]["attempts"][0]["error"] for row in rows]
    assert errors[0].startswith("rate_limited: the provider answered 429")
    assert errors[1:] == ["rate_limited: left alone, because it is in trouble (rate_limited)"] * 2
    # Nobody knocked where nobody should.
    assert len(whisperx.heard) == 1
    assert attempts_of(alone) == [("voxtral-small", "completed")]
    assert troubled(db) == ["whisperx"]


async def test_one_job_at_a_time_probes_and_its_success_brings_the_provider_back(conninfo: str, db: Db) -> None:
    may_answer = anyio.Event()
    db.execute("select aiserv.report_provider('whisperx', 'provider_unavailable', 'refused')")
    db.execute("update aiserv.provider set paused_until = clock_timestamp()")

    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        healthy = whisperx.routes["POST", "/asr"]

        async def late(asked: Any) -> Any:  # noqa: ANN401 - as the handler that it wraps
            await may_answer.wait()
            return await healthy(asked)

        whisperx.routes = {**whisperx.routes, ("POST", "/asr"): late}
        async with working(conninfo, whisperx=whisperx, voxtral_small=vox):
            probe = transcribe(db)
            with anyio.fail_after(SOON):
                await whisperx.called()
            beside = await finished(db, transcribe(db))
            assert len(whisperx.heard) == 1
            may_answer.set()
            probed = await finished(db, probe)
            await until(lambda: troubled(db) == [])
            later = await finished(db, transcribe(db))

    assert attempts_of(beside) == [("whisperx", "failed"), ("voxtral-small", "completed")]
    assert attempts_of(probed) == attempts_of(later) == [("whisperx", "completed"), ("voxtral-small", "completed")]


async def test_a_queue_all_of_whose_providers_pause_is_left_alone_and_that_of_a_healthy_one_is_not(
    conninfo: str, db: Db
) -> None:
    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        whisperx.instead = vox.instead = refuses(503, "busy", headers={"Retry-After": "3600"})
        async with working(conninfo, whisperx=whisperx, voxtral_small=vox) as worker:
            job_id = transcribe(db)
            await until(lambda: worker.record.ends[End.RELEASED] == 1)
            claims = meddler(worker.claim_database).claims
            await heard(worker, lambda: db.execute("notify aiserv_ready, 'whisperx'"))
            await until(lambda: meddler(worker.claim_database).claims > claims)
            waiting = job(db, job_id)
            vox.instead = None
            db.execute("select aiserv.report_provider('voxtral-small')")
            served = await finished(db, transcribe(db, "voxtral-small"))
            completed = await finished(db, job_id)

    assert (waiting["status"], waiting["attempt"], waiting["failures"]) == ("pending", 1, 0)
    assert waiting["error_category"] == "provider_unavailable"
    assert served["status"] == "completed"
    assert attempts_of(completed) == [("whisperx", "failed"), ("voxtral-small", "completed")]
    assert len(whisperx.heard) == 1
    assert troubled(db) == ["whisperx"]


async def test_a_job_that_wants_only_the_one_that_pauses_waits_as_long(conninfo: str, db: Db) -> None:
    db.execute("select aiserv.report_provider('whisperx', 'unauthorized', 'no', '1 hour')")

    async with (
        serving(asr()) as whisperx,
        serving(voxtral()) as vox,
        working(conninfo, whisperx=whisperx, voxtral_small=vox) as worker,
    ):
        job_id = transcribe(db, providers=["whisperx"])
        await until(lambda: worker.record.ends[End.RELEASED] == 1)

    waiting = job(db, job_id)
    assert (waiting["status"], waiting["attempt"], waiting["error_category"]) == ("pending", 1, "unauthorized")
    assert timedelta(minutes=59) < waiting["run_at"] - datetime.now(UTC) < timedelta(minutes=61)
    assert whisperx.asked == []


async def test_a_job_that_wants_what_is_not_set_up_waits_and_pauses_nobody(conninfo: str, db: Db) -> None:
    async with serving(asr()) as whisperx, working(conninfo, whisperx=whisperx) as worker:
        job_id = transcribe(db, providers=["voxtral-small"])
        await until(lambda: worker.record.ends[End.RELEASED] == 1)

    waiting = job(db, job_id)
    assert (waiting["status"], waiting["error_message"]) == ("pending", "voxtral-small: voxtral-small is not set up")
    assert waiting["run_at"] > datetime.now(UTC)
    assert troubled(db) == []
