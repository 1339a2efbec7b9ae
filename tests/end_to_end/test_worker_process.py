"""A worker process: what is configured decides what it takes, and a call travels the whole way."""

import base64
import json

import aiohttp
import anyio
import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv.settings import Settings, SettingsError
from tests.audio_providers import asr, qwen2_audio, serving
from tests.processes import ENVIRON
from tests.providers import content, fake_provider
from tests.waiting import SOON, until
from tests.workers.audio.recordings import samples, utterances, wav
from tests.workers.running import after
from workers.process import Kind, choose_kinds, work

pytestmark = pytest.mark.usefixtures("patient")

BOTH = {"LLM_BASE_URL": "http://llm", "WHISPERX_URL": "http://whisperx"}


def settings(conninfo: str = "postgresql:///nowhere", **variables: str) -> Settings:
    return Settings.load({**ENVIRON, "DATABASE_URL": conninfo, "WORKER_POLL_INTERVAL": "1h", **variables})


async def test_a_stereo_call_comes_back_with_two_speakers_and_an_attempt_of_each_provider(
    conninfo: str, db: psycopg.Connection[DictRow]
) -> None:
    voices = [utterances(20, first=1, every=8), utterances(20, first=5, every=8)]
    recording = base64.b64encode(wav(samples(voices, 20), channels=2)).decode()
    stop = anyio.Event()
    db.execute("listen aiserv_finished")

    async with serving(asr()) as whisperx, serving(qwen2_audio()) as qwen, anyio.create_task_group() as tasks:
        given = {
            "WHISPERX_URL": whisperx.url,
            "QWEN_AUDIO_BASE_URL": qwen.url,
            "TRANSCRIPTION_PROVIDERS": "whisperx,qwen2-audio",
        }
        await tasks.start(work, settings(conninfo, **given), stop)
        db.execute(
            "select aiserv.create_job('telephony', 'transcribe', 'whisperx', %s::json)",
            [json.dumps({"audio_base64": recording, "filename": "call.wav"})],
        )
        await anyio.to_thread.run_sync(lambda: list(db.notifies(timeout=SOON, stop_after=1)))
        stop.set()

    job = db.execute("select status, result, error_message from aiserv.jobs").fetchone()
    assert job
    assert job["status"] == "completed", job["error_message"]
    assert {segment["speaker"] for segment in job["result"]["segments"]} == {"SPEAKER_00", "SPEAKER_01"}
    assert [(tried["provider"], tried["status"]) for tried in job["result"]["attempts"]] == [
        ("whisperx", "completed"),
        ("qwen2-audio", "completed"),
    ]


async def test_the_first_success_is_in_the_progress_while_the_next_provider_still_listens(
    conninfo: str, db: psycopg.Connection[DictRow]
) -> None:
    recording = base64.b64encode(wav(samples([utterances(8, first=1, every=4)], 8))).decode()
    stop = anyio.Event()
    shown: list[dict[str, object]] = []

    def look(_asked: object) -> str:
        row = db.execute("select progress from aiserv.jobs").fetchone()
        shown.append(row["progress"] if row else {})
        return "heard"

    async with serving(asr()) as whisperx, serving(qwen2_audio(look)) as qwen, anyio.create_task_group() as tasks:
        given = {
            "WHISPERX_URL": whisperx.url,
            "QWEN_AUDIO_BASE_URL": qwen.url,
            "TRANSCRIPTION_PROVIDERS": "whisperx,qwen2-audio",
        }
        await tasks.start(work, settings(conninfo, **given), stop)
        db.execute(
            "select aiserv.create_job('telephony', 'transcribe', 'whisperx', %s::json)",
            [json.dumps({"audio_base64": recording, "filename": "call.wav"})],
        )
        await until(lambda: db.execute("select 1 from aiserv.jobs where status = 'completed'").fetchone())
        stop.set()

    assert shown
    assert shown[0]["provider"] == "whisperx"


async def test_a_worker_of_both_kinds_does_both_in_one_process_and_leaves_other_pairs_to_others(
    conninfo: str, db: psycopg.Connection[DictRow]
) -> None:
    recording = base64.b64encode(wav(samples([utterances(8, first=1, every=4)], 8))).decode()
    stop = anyio.Event()

    async with fake_provider() as llm, serving(asr()) as whisperx, anyio.create_task_group() as tasks:
        given = {"LLM_BASE_URL": llm.base_url, "WHISPERX_URL": whisperx.url, "WORKER_CLAIM_LIMIT": "2"}
        port = await tasks.start(work, settings(conninfo, **given), stop)
        for task_type, profile, job_input in (
            ("transcription", "qwen", {}),
            ("llm_chat", "whisperx", {}),
            ("llm_chat", "qwen", {"user": "Hello?"}),
            ("transcription", "whisperx", {"audio_base64": recording, "filename": "call.wav"}),
        ):
            db.execute(
                "select aiserv.create_job('telephony', %s, %s, %s::json)", [task_type, profile, json.dumps(job_input)]
            )
        await until(lambda: counted(db, "completed") == 2)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/worker/status") as answer:
            status = await answer.json()
        stop.set()

    assert status["task_types"] == ["llm_chat", "chat_completion", "call_analysis", "transcription", "transcribe"]
    assert status["model_profiles"] == ["qwen", "whisperx"]
    assert status["claim_limit"] == 2
    (shown,) = db.execute("select worker_id, slots from aiserv.workers").fetchall()
    assert shown["slots"] == 2
    waiting = db.execute(
        "select task_type, model_profile, attempt from aiserv.jobs where status = 'pending'"
    ).fetchall()
    assert {(job["task_type"], job["model_profile"], job["attempt"]) for job in waiting} == {
        ("transcription", "qwen", 0),
        ("llm_chat", "whisperx", 0),
    }
    unserved = db.execute("select aiserv.stats() -> 'unserved' as unserved").fetchone()
    assert unserved
    assert len(unserved["unserved"]) == 2


async def test_somebody_who_holds_a_job_does_not_hold_up_the_results_of_others(
    conninfo: str, db: psycopg.Connection[DictRow]
) -> None:
    stop, may_answer = anyio.Event(), anyio.Event()

    async with fake_provider() as llm, anyio.create_task_group() as tasks:
        llm.answers(after(may_answer, content("Hello.")))
        await tasks.start(work, settings(conninfo, LLM_BASE_URL=llm.base_url), stop)
        for _ in range(2):
            db.execute("select aiserv.create_job('telephony', 'llm_chat', 'qwen', '{\"user\": \"Hello?\"}')")
        await llm.called(2)
        with db.transaction():
            db.execute("select aiserv.heartbeat_job(id) from aiserv.jobs order by id limit 1")
            may_answer.set()
            await until(lambda: counted(db, "completed") == 1)
        await until(lambda: counted(db, "completed") == 2)
        stop.set()


def counted(db: psycopg.Connection[DictRow], status: str) -> int:
    row = db.execute("select count(*) as jobs from aiserv.jobs where status = %s", [status]).fetchone()
    assert row
    return int(row["jobs"])


@pytest.mark.parametrize(
    ("given", "named", "kinds"),
    [
        ({"LLM_BASE_URL": "http://llm"}, [], [Kind.LLM]),
        ({"WHISPERX_URL": "http://whisperx"}, [], [Kind.TRANSCRIPTION]),
        (BOTH, [], [Kind.LLM, Kind.TRANSCRIPTION]),
        (BOTH, ["transcription"], [Kind.TRANSCRIPTION]),
        (BOTH, ["transcription", "llm"], [Kind.LLM, Kind.TRANSCRIPTION]),
    ],
)
def test_a_worker_does_what_is_named_or_configured(given: dict[str, str], named: list[str], kinds: list[Kind]) -> None:
    assert choose_kinds(settings(**given), named) == kinds


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        ({}, [], "LLM_BASE_URL"),
        ({"WHISPERX_URL": "http://whisperx"}, ["llm"], "LLM_BASE_URL"),
        ({"LLM_BASE_URL": "http://llm"}, ["transcription"], "WHISPERX_URL"),
        ({"LLM_BASE_URL": "http://llm"}, ["llm", "transcription"], "WHISPERX_URL"),
    ],
)
def test_a_worker_that_cannot_do_what_it_is_told_says_what_is_missing(
    given: dict[str, str], named: list[str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        choose_kinds(settings(**given), named)
