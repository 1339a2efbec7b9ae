"""WhisperX in its dialects: told apart, asked as each wants it, and several instances sharing the work."""

from collections.abc import Mapping

import anyio
import pytest
from pydantic import JsonValue

from tests.audio_providers import Asked, Handler, asr, segments_of, serving, tasks, voxtral, whisper_openai
from tests.providers import Answer, body, drops, hangs, refuses
from tests.waiting import SOON
from tests.workers.audio.recordings import encoded, utterances
from tests.workers.transcription.jobs import (
    SAID,
    assert_complete,
    document,
    executor,
    executor_for,
    failure_of,
    job_with,
)
from workers.providers import whisperx_server

Routes = Mapping[tuple[str, str], Handler]

ALL_OPTIONS: dict[str, JsonValue] = {
    "language": "ru",
    "prompt": "Билайн",
    "diarize": True,
    "min_speakers": 1,
    "max_speakers": 3,
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisperx_server, "POLL_SECONDS", 0.01)


@pytest.mark.parametrize(
    ("routes", "path", "described"),
    [
        (asr(), "/asr", True),
        (whisper_openai(), "/v1/audio/transcriptions", True),
        (tasks(), "/speech-to-text", True),
        ({**whisper_openai(), **asr()}, "/asr", True),
        (whisper_openai(), "/v1/audio/transcriptions", False),
        (tasks(), "/speech-to-text", False),
    ],
)
async def test_the_dialect_of_a_server_is_found_out(routes: Routes, path: str, described: bool) -> None:  # noqa: FBT001
    async with serving(routes, described=described) as provider, executor_for(provider) as transcription:
        result = document(await transcription(job_with(language="ru")))
        looked = len([asked for asked in provider.asked if asked.path == "/openapi.json"])
        await transcription(job_with(language="ru"))

    assert [asked.path for asked in provider.heard] == [path, path]
    assert looked == len([asked for asked in provider.asked if asked.path == "/openapi.json"]) == 1
    assert_complete(result["segments"], SAID)


@pytest.mark.parametrize("suffix", ["", "/v1", "/v1/audio/transcriptions"])
async def test_a_url_with_the_route_of_a_dialect_is_taken_at_its_word(suffix: str) -> None:
    async with (
        serving(whisper_openai(), described=False) as provider,
        executor(WHISPERX_URL=f"{provider.url}{suffix}", WHISPERX_MODEL="m", WHISPERX_API="openai") as transcription,
    ):
        await transcription(job_with())

    assert [asked.path for asked in provider.asked] == ["/v1/audio/transcriptions"]


@pytest.mark.parametrize(
    ("api", "path"), [("asr", "/asr"), ("openai", "/v1/audio/transcriptions"), ("tasks", "/speech-to-text")]
)
async def test_a_dialect_that_is_set_is_spoken_whatever_else_a_server_has(api: str, path: str) -> None:
    async with (
        serving({**asr(), **whisper_openai(), **tasks()}) as provider,
        executor_for(provider, WHISPERX_API=api) as transcription,
    ):
        await transcription(job_with())

    assert [asked.path for asked in provider.heard] == [path]
    assert "/openapi.json" not in [asked.path for asked in provider.asked]


async def test_a_server_of_no_known_dialect_is_unavailable() -> None:
    async with serving({}) as provider, executor_for(provider) as transcription:
        failure = await failure_of(transcription, job_with())

    assert failure.category == "provider_unavailable"
    assert "/asr" in failure.message


async def test_asr_is_asked_with_all_options_in_the_query() -> None:
    async with serving(asr()) as provider, executor_for(provider, WHISPERX_MODEL="large-v3") as transcription:
        result = document(await transcription(job_with(options=ALL_OPTIONS)))

    asked = provider.heard[0].options
    assert asked == {
        "encode": "true",
        "task": "transcribe",
        "output": "json",
        "output_format": "json",
        "model": "large-v3",
        "language": "ru",
        "initial_prompt": "Билайн",
        "diarize": "true",
        "min_speakers": "1",
        "max_speakers": "3",
        "file_field": "audio_file",
    }
    assert (result["language"], result["model"]) == ("ru", "large-v3")
    assert {segment["speaker"] for segment in result["segments"]} == {"SPEAKER_00", "SPEAKER_01"}


async def test_openai_s_route_is_asked_with_all_options_in_the_form_and_the_model_that_is_served() -> None:
    async with serving(whisper_openai()) as provider, executor_for(provider) as transcription:
        result = document(await transcription(job_with(options=ALL_OPTIONS)))

    assert provider.heard[0].options == {
        "response_format": "verbose_json",
        "timestamp_granularities[]": "segment",
        "model": "served-whisper",
        "language": "ru",
        "prompt": "Билайн",
        "diarize": "true",
        "align": "true",
        "min_speakers": "1",
        "max_speakers": "3",
        "file_field": "file",
    }
    assert result["model"] == "served-whisper"
    assert {segment["speaker"] for segment in result["segments"]} == {"SPEAKER_00", "SPEAKER_01"}


async def test_tasks_are_asked_with_language_and_model_which_would_else_be_english_and_tiny() -> None:
    async with serving(tasks()) as provider, executor_for(provider) as transcription:
        result = document(await transcription(job_with(options=ALL_OPTIONS)))

    assert provider.heard[0].options == {
        "task": "transcribe",
        "model": "large-v3",
        "language": "ru",
        "initial_prompt": "Билайн",
        "min_speakers": "1",
        "max_speakers": "3",
        "file_field": "file",
    }
    assert result["language"] == "ru"
    assert "warning" not in result["attempts"][0]


async def test_a_language_that_a_server_took_without_being_asked_is_said() -> None:
    async with serving(tasks()) as provider, executor_for(provider) as transcription:
        result = document(await transcription(job_with()))

    assert result["language"] == "en"
    assert "took en" in result["attempts"][0]["warning"]


async def test_a_task_that_fails_is_an_error_of_the_provider() -> None:
    async with serving(tasks(error="CUDA out of memory")) as provider, executor_for(provider) as transcription:
        failure = await failure_of(transcription, job_with())

    assert failure.category == "provider_error"
    assert "CUDA out of memory" in failure.message


async def test_a_server_without_verbose_json_is_asked_for_json_and_from_then_on_at_once() -> None:
    async with serving(whisper_openai(verbose=False)) as provider, executor_for(provider) as transcription:
        result = document(await transcription(job_with()))
        await transcription(job_with())

    formats = [asked.options["response_format"] for asked in provider.heard]
    assert formats == ["verbose_json", "json", "json"]
    assert [(segment["start"], segment["end"]) for segment in result["segments"]] == [(0.0, 8.0)]


def list_text(asked: Asked) -> JsonValue:
    return {"text": [*segments_of(asked)], "language": "ru", "word_segments": []}


def without_language(asked: Asked) -> JsonValue:
    return {"segments": [*segments_of(asked, speakers=True)], "word_segments": []}


@pytest.mark.parametrize("routes", [asr(list_text), asr(without_language), whisper_openai(without_language)])
async def test_answers_of_any_shape_are_understood(routes: Routes) -> None:
    async with serving(routes) as provider, executor_for(provider) as transcription:
        result = document(await transcription(job_with(language="ru")))

    assert_complete(result["segments"], SAID)
    assert result["language"] == "ru"


async def test_the_channels_of_a_call_are_heard_without_looking_for_speakers() -> None:
    call = encoded([SAID, utterances(8, first=3, every=4)], 8, "wav")

    async with serving(asr()) as provider, executor_for(provider) as transcription:
        result = document(await transcription(job_with(call, diarize=True, min_speakers=2, max_speakers=2)))

    assert [asked.options["diarize"] for asked in provider.heard] == ["false", "false"]
    assert not any("min_speakers" in asked.options for asked in provider.heard)
    assert [segment["speaker"] for segment in result["segments"][:2]] == ["SPEAKER_00", "SPEAKER_01"]


async def test_the_least_busy_instance_takes_the_next_recording() -> None:
    async with serving(asr()) as one, serving(asr()) as other:
        one.instead = other.instead = hangs()
        async with (
            executor(WHISPERX_URL=f"{one.url},{other.url}") as transcription,
            anyio.create_task_group() as jobs,
        ):
            for _ in range(2):
                jobs.start_soon(transcription, job_with())
            with anyio.fail_after(SOON):
                await one.called()
                await other.called()
            jobs.cancel_scope.cancel()

    assert (len(one.heard), len(other.heard)) == (1, 1)


async def test_an_instance_that_is_not_there_leaves_the_work_to_the_other() -> None:
    async with (
        serving(asr()) as provider,
        executor(WHISPERX_URL=f"http://127.0.0.1:1,{provider.url}") as transcription,
    ):
        for _ in range(2):
            await transcription(job_with())

    assert len(provider.heard) == 2


async def test_an_instance_that_fell_silent_over_a_recording_does_not_hand_it_to_the_next() -> None:
    async with serving(asr()) as one, serving(asr()) as other:
        one.instead = other.instead = drops()
        async with executor(WHISPERX_URL=f"{one.url},{other.url}") as transcription:
            failure = await failure_of(transcription, job_with())

    assert failure.category == "provider_unavailable"
    assert len(one.heard) + len(other.heard) == 1


async def test_a_server_that_changed_its_dialect_is_looked_at_again() -> None:
    async with serving(asr()) as provider, executor_for(provider) as transcription:
        await transcription(job_with())
        provider.routes = voxtral() | whisper_openai()
        failure = await failure_of(transcription, job_with())
        await transcription(job_with())

    assert failure.category == "provider_unavailable"
    assert provider.heard[-1].path == "/v1/audio/transcriptions"


@pytest.mark.parametrize(
    "answer",
    [
        body("<html>welcome</html>", content_type="text/html"),
        body("[[1"),
        body("7"),
        body('{"detail": "all went wrong"}'),
        refuses(200, {"error": "no"}),
    ],
)
async def test_an_answer_that_is_no_transcript_is_invalid(answer: Answer) -> None:
    async with serving(asr()) as provider, executor_for(provider) as transcription:
        provider.instead = answer
        failure = await failure_of(transcription, job_with())

    assert failure.category == "invalid_response"
