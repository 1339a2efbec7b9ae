"""Transcription executors with their settings, and jobs for them."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import JsonValue

from aiserv.models import Job
from aiserv.settings import Settings, TranscriptionSettings
from tests.audio_providers import AudioProvider
from tests.workers.audio.recordings import Word, samples, utterances, wav
from workers.executors import Outcome
from workers.executors.transcription import Transcription
from workers.failures import Failure

NOW = datetime(2026, 6, 9, 8, 49, 12, tzinfo=UTC)
KEY = "sk-very-secret"
SAID = utterances(8, first=1, every=4)
SHORT = wav(samples([SAID], 8))


def settings_of(**variables: str) -> TranscriptionSettings:
    return Settings.load({}, **variables).transcription


def job_of(
    job_input: JsonValue,
    *,
    profile: str = "whisperx",
    timeout: float | None = None,
    traceparent: str | None = None,
) -> Job:
    return Job(
        id=UUID("0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10"),
        owner_service="telephony",
        task_type="transcription",
        model_profile=profile,
        attempt=1,
        timeout_seconds=timeout,
        traceparent=traceparent,
        input_json=json.dumps(job_input),
        run_at=NOW,
        started_at=NOW,
        lease_expires_at=NOW + timedelta(minutes=1),
    )


def job_with(
    audio: bytes = SHORT,
    *,
    timeout: float | None = None,
    profile: str = "whisperx",
    options: Mapping[str, JsonValue] | None = None,
    **more: JsonValue,
) -> Job:
    """A job that brings its recording along."""
    job_input: dict[str, JsonValue] = {"audio_base64": base64.b64encode(audio).decode(), **(options or {}), **more}
    return job_of(job_input, timeout=timeout, profile=profile)


@asynccontextmanager
async def executor(**variables: str) -> AsyncIterator[Transcription]:
    async with Transcription(settings_of(**variables)) as transcription:
        yield transcription


@asynccontextmanager
async def executor_for(
    provider: AudioProvider, name: str = "whisperx", **variables: str
) -> AsyncIterator[Transcription]:
    """An executor for this provider alone."""
    async with executor(TRANSCRIPTION_PROVIDERS=name, **urls({name: provider}), **variables) as transcription:
        yield transcription


def urls(providers: dict[str, AudioProvider]) -> dict[str, str]:
    variables = {
        "whisperx": "WHISPERX_URL",
        "qwen2-audio": "QWEN_AUDIO_BASE_URL",
        "voxtral-small": "VOXTRAL_BASE_URL",
    }
    return {variables[name]: provider.url for name, provider in providers.items()}


def document(outcome: Outcome) -> dict[str, Any]:
    """The result as it is stored."""
    stored = json.loads(json.dumps(outcome.result, allow_nan=False))
    assert isinstance(stored, dict)
    return stored


async def failure_of(transcription: Transcription, job: Job) -> Failure:
    with pytest.raises(Failure) as raised:
        await transcription(job)
    return raised.value


def assert_complete(segments: list[dict[str, Any]], said: list[Word]) -> None:
    """Every word is there once, in its order, within the times of its segment; segments are ordered by time."""
    assert [word for segment in segments for word in segment["text"].split()] == [word.text for word in said]
    assert segments == sorted(segments, key=lambda segment: segment["start"])
    times = iter(said)
    for segment in segments:
        for _ in segment["text"].split():
            start = next(times).start
            assert segment["start"] - 0.3 <= start <= segment["end"], (segment, start)
