"""A transcription worker: what is configured decides what it takes, and a call travels the whole way."""

import base64
import json

import anyio
import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv.settings import Settings, SettingsError
from tests.audio_providers import asr, qwen2_audio, serving
from tests.processes import ENVIRON, until
from tests.workers.audio.recordings import samples, utterances, wav
from workers.process import Kind, choose_kind, work

SOON = 20  # seconds, decoding included


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
        with anyio.fail_after(SOON):
            await anyio.to_thread.run_sync(lambda: next(db.notifies()))
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
        await until(lambda: db.execute("select 1 from aiserv.jobs where status = 'completed'").fetchone(), SOON)
        stop.set()

    assert shown
    assert shown[0]["provider"] == "whisperx"


@pytest.mark.parametrize(
    ("given", "kinds", "kind"),
    [
        ({"LLM_BASE_URL": "http://llm"}, [], Kind.LLM),
        ({"WHISPERX_URL": "http://whisperx"}, [], Kind.TRANSCRIPTION),
        ({"LLM_BASE_URL": "http://llm", "WHISPERX_URL": "http://whisperx"}, ["transcription"], Kind.TRANSCRIPTION),
    ],
)
def test_a_worker_does_what_is_named_or_configured(given: dict[str, str], kinds: list[str], kind: Kind) -> None:
    assert choose_kind(settings(**given), kinds) is kind


@pytest.mark.parametrize(
    ("given", "kinds", "said"),
    [
        ({}, [], "LLM_BASE_URL"),
        ({"WHISPERX_URL": "http://whisperx"}, ["llm"], "LLM_BASE_URL"),
        ({"LLM_BASE_URL": "http://llm"}, ["transcription"], "WHISPERX_URL"),
        ({"LLM_BASE_URL": "http://llm", "WHISPERX_URL": "http://whisperx"}, [], "one kind"),
    ],
)
def test_a_worker_with_nothing_to_do_or_too_much_says_what_is_missing(
    given: dict[str, str], kinds: list[str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        choose_kind(settings(**given), kinds)
