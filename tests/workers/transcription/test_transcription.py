"""Which providers hear a recording, in which order, and what becomes of the job."""

from collections.abc import Mapping
from typing import TypeAlias

import anyio
import pytest
from pydantic import JsonValue

from tests.audio_providers import Handler, asr, qwen2_audio, serving, voxtral
from tests.providers import Answer, body, drops, hangs, refuses
from tests.waiting import SOON
from tests.workers.audio.recordings import samples, wav
from tests.workers.transcription.jobs import (
    SAID,
    assert_complete,
    document,
    executor,
    executor_for,
    failure_of,
    job_of,
    job_with,
    settings_of,
    urls,
)
from workers.executors.transcription import Transcription

Routes: TypeAlias = Mapping[tuple[str, str], Handler]

ALL = "whisperx,qwen2-audio,voxtral-small"


async def test_the_result_is_that_of_the_first_success_with_attempts_of_all() -> None:
    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        providers = {"whisperx": whisperx, "voxtral-small": vox}
        whisperx.instead = refuses(500, "out of luck")
        async with executor(TRANSCRIPTION_PROVIDERS=ALL, **urls(providers)) as transcription:
            result = document(await transcription(job_with(language="ru")))

    failed, skipped, completed = result["attempts"]
    assert failed["error"] == "provider_error: the provider answered 500 Internal Server Error: out of luck"
    assert (failed["status"], failed["text"], failed["segments"]) == ("failed", None, [])
    assert (skipped["status"], skipped["model"]) == ("skipped", "Qwen/Qwen2-Audio-7B-Instruct")
    assert (completed["status"], completed["model"], completed["error"]) == ("completed", "served", None)
    assert isinstance(completed["duration_ms"], int)
    assert result["duration_ms"] == completed["duration_ms"]
    assert {frozenset(attempt) for attempt in result["attempts"]} == {
        frozenset({"provider", "model", "status", "text", "segments", "duration_ms", "error"})
    }
    assert {name: result[name] for name in ("provider", "model", "language", "text")} == {
        "provider": "voxtral-small",
        "model": "served",
        "language": "ru",
        "text": completed["text"],
    }
    assert result["segments"] == completed["segments"]
    assert set(result["segments"][0]) == {"start", "end", "text", "speaker"}
    assert_complete(result["segments"], SAID)


async def test_every_provider_is_asked_also_after_a_success_and_the_tokens_are_added_up() -> None:
    async with serving(qwen2_audio()) as qwen, serving(voxtral()) as vox:
        providers = {"qwen2-audio": qwen, "voxtral-small": vox}
        async with executor(TRANSCRIPTION_PROVIDERS=",".join(providers), **urls(providers)) as transcription:
            outcome = await transcription(job_with())

    calls = len(qwen.heard) + len(vox.heard)
    assert calls == 2 * len(SAID) // 3
    assert outcome.usage == {"prompt_tokens": 100 * calls, "completion_tokens": 10 * calls, "total_tokens": 110 * calls}


async def test_the_first_success_is_reported_before_the_next_provider_has_answered() -> None:
    reported: list[JsonValue] = []
    seen = anyio.Event()

    async def report(progress: JsonValue) -> None:
        reported.append(progress)
        seen.set()

    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        vox.instead = hangs()
        providers = {"whisperx": whisperx, "voxtral-small": vox}
        async with (
            executor(TRANSCRIPTION_PROVIDERS=",".join(providers), **urls(providers)) as transcription,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(transcription, job_with(), report)
            with anyio.fail_after(SOON):
                await seen.wait()
                await vox.called()
            tasks.cancel_scope.cancel()

    (progress,) = reported
    assert isinstance(progress, dict)
    assert progress["provider"] == "whisperx"
    assert isinstance(progress["segments"], list)
    assert progress["segments"]


@pytest.mark.parametrize(("profile", "routes"), [("qwen2-audio", qwen2_audio()), ("voxtral-small", voxtral())])
async def test_a_profile_of_one_provider_runs_that_one(profile: str, routes: Routes) -> None:
    async with serving(asr()) as whisperx, serving(routes) as provider:
        providers = {"whisperx": whisperx, profile: provider}
        async with executor(**urls(providers)) as transcription:
            result = document(await transcription(job_with(profile=profile)))

    assert [attempt["provider"] for attempt in result["attempts"]] == [profile]
    assert whisperx.asked == []


async def test_the_job_may_name_its_providers() -> None:
    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        providers = {"whisperx": whisperx, "voxtral-small": vox}
        async with executor(**urls(providers)) as transcription:
            result = document(await transcription(job_with(providers=["voxtral-small", "whisperx"])))

    assert [attempt["provider"] for attempt in result["attempts"]] == ["voxtral-small", "whisperx"]


@pytest.mark.parametrize(
    ("variables", "profiles"),
    [
        ({}, ("whisperx",)),
        ({"QWEN_AUDIO_BASE_URL": "http://h"}, ("whisperx", "qwen2-audio")),
        ({"VOXTRAL_BASE_URL": "http://h"}, ("whisperx", "voxtral-small")),
    ],
)
def test_a_profile_is_served_if_its_provider_is_set_up(variables: dict[str, str], profiles: tuple[str, ...]) -> None:
    assert Transcription(settings_of(**variables)).model_profiles == profiles


@pytest.mark.parametrize(
    "wrong",
    [
        {"providers": []},
        {"providers": ["nobody"]},
        {"providers": ["whisperx", "nobody"]},
        {"providers": "whisperx"},
        {"providers": [["whisperx"]]},
        {"audio_base64": None},
        {"audio_base64": "!!!!"},
        {"audio_base64": 7},
        {"audio_url": "http://example.com/both.wav"},
        {"audio_base64": None, "audio_url": "ftp://example.com/a.wav"},
        {"audio_base64": None, "audio_url": "data:audio/wav"},
        {"language": 7},
        {"prompt": ["a"]},
        {"diarize": "yes"},
        {"min_speakers": 0},
        {"max_speakers": 1.5},
        {"min_speakers": 3, "max_speakers": 2},
    ],
)
async def test_an_input_that_makes_no_sense_is_refused_before_anybody_is_asked(wrong: dict[str, JsonValue]) -> None:
    job_input: dict[str, JsonValue] = {"audio_base64": "UklGRg==", **wrong}

    async with serving(asr()) as provider, executor_for(provider) as transcription:
        failure = await failure_of(transcription, job_of(job_input))

    assert failure.category == "invalid_input"
    assert "input" in failure.message
    assert provider.asked == []


@pytest.mark.parametrize("job_input", [None, [], "audio", 7, {}])
async def test_an_input_without_a_recording_is_refused(job_input: JsonValue) -> None:
    async with executor() as transcription:
        failure = await failure_of(transcription, job_of(job_input))

    assert failure.category == "invalid_input"


async def test_silence_is_a_success_without_segments() -> None:
    silence = wav(samples([[]], 10))

    async with serving(asr()) as whisperx, serving(qwen2_audio()) as qwen:
        providers = {"whisperx": whisperx, "qwen2-audio": qwen}
        async with executor(TRANSCRIPTION_PROVIDERS=",".join(providers), **urls(providers)) as transcription:
            result = document(await transcription(job_with(silence)))

    assert (result["text"], result["segments"]) == ("", [])
    assert [attempt["status"] for attempt in result["attempts"]] == ["completed", "completed"]


@pytest.mark.parametrize(
    ("answers", "category"),
    [
        ((refuses(503, "busy"), refuses(429, "slow down")), "provider_unavailable"),
        ((refuses(503, "busy"), refuses(500, "broken")), "provider_error"),
        ((refuses(400, "bad"), refuses(500, "broken")), "invalid_input"),
        ((drops(), refuses(401, "no")), "provider_unavailable"),
        ((body("<html>", content_type="text/html"), refuses(401, "no")), "invalid_response"),
    ],
)
async def test_without_a_success_the_first_failure_that_is_not_the_provider_s_trouble_decides(
    answers: tuple[Answer, Answer], category: str
) -> None:
    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        whisperx.instead, vox.instead = answers
        providers = {"whisperx": whisperx, "voxtral-small": vox}
        async with executor(TRANSCRIPTION_PROVIDERS=ALL, **urls(providers)) as transcription:
            failure = await failure_of(transcription, job_with())

    assert failure.category == category
    assert len(whisperx.heard) == 1
    assert "whisperx: " in failure.message
    assert "voxtral-small: " in failure.message


async def test_a_job_whose_providers_are_not_set_up_is_released() -> None:
    async with executor() as transcription:
        failure = await failure_of(transcription, job_with())

    assert failure.provider_trouble
    assert failure.message == "whisperx: whisperx is not set up"


async def test_a_recording_that_cannot_be_decoded_fails_the_job() -> None:
    async with serving(asr()) as provider, executor_for(provider) as transcription:
        failure = await failure_of(transcription, job_with(b"no recording"))

    assert failure.category == "unsupported_audio"
    assert provider.asked == []
