"""Recordings of any length are transcribed completely, whatever the limits of the provider."""

from collections.abc import Mapping

import anyio
import pytest

from tests.audio_providers import Handler, asr, qwen2_audio, serving, tasks, voxtral, whisper_openai
from tests.providers import hangs
from tests.waiting import SOON
from tests.workers.audio.recordings import encoded, samples, utterances, wav, without_pause
from tests.workers.transcription.jobs import assert_complete, document, executor, executor_for, job_with, urls

LEFT = utterances(720, first=1, every=16)
RIGHT = utterances(720, first=9, every=16)


async def test_a_stereo_call_of_12_minutes_is_complete_from_all_three_providers() -> None:
    call = encoded([LEFT, RIGHT], 720, "alaw.wav")

    async with serving(asr()) as whisperx, serving(qwen2_audio()) as qwen, serving(voxtral()) as vox:
        providers = {"whisperx": whisperx, "qwen2-audio": qwen, "voxtral-small": vox}
        async with executor(TRANSCRIPTION_PROVIDERS=",".join(providers), **urls(providers)) as transcription:
            result = document(await transcription(job_with(call)))

    assert [attempt["provider"] for attempt in result["attempts"]] == list(providers)
    for attempt in result["attempts"]:
        segments = attempt["segments"]
        assert attempt["status"] == "completed"
        assert segments == sorted(segments, key=lambda segment: segment["start"])
        for channel, said in enumerate([LEFT, RIGHT]):
            of_channel = [segment for segment in segments if segment["channel"] == channel]
            assert {segment["speaker"] for segment in of_channel} == {f"SPEAKER_{channel:02d}"}
            assert_complete(of_channel, said)


async def test_more_than_a_server_takes_is_sent_in_pieces_and_at_once_so_the_next_time() -> None:
    said = without_pause(610)
    audio = wav(samples([said], 610))

    async with serving(whisper_openai(limits=True)) as provider, executor_for(provider) as transcription:
        first = document(await transcription(job_with(audio)))
        lengths = [round(asked.seconds) for asked in provider.heard]
        await transcription(job_with(audio))

    assert_complete(first["segments"], said)
    assert lengths[0] == 610
    assert all(asked.seconds <= 590 for asked in provider.heard[1:])


@pytest.mark.parametrize(
    ("name", "routes", "variables"),
    [
        ("whisperx", asr(), {}),
        ("whisperx", whisper_openai(verbose=False), {}),
        ("whisperx", tasks(polls=1), {}),
        ("qwen2-audio", qwen2_audio(), {}),
        ("voxtral-small", voxtral(), {}),
        ("voxtral-small", voxtral(), {"VOXTRAL_API": "transcriptions"}),
    ],
)
async def test_someone_who_does_not_pause_for_a_minute_is_heard_to_the_end(
    name: str, routes: Mapping[tuple[str, str], Handler], variables: Mapping[str, str]
) -> None:
    said = without_pause(62)
    audio = wav(samples([said], 62))

    async with serving(routes) as provider, executor_for(provider, name, **variables) as transcription:
        result = document(await transcription(job_with(audio, language="ru")))

    assert_complete(result["segments"], said)
    assert result["text"].split() == [word.text for word in said]


@pytest.mark.parametrize("form", ["mp3", "m4a"])
async def test_a_stereo_call_of_any_format_has_two_speakers(form: str) -> None:
    left, right = utterances(16, first=1, every=8), utterances(16, first=5, every=8)

    async with serving(voxtral()) as provider, executor_for(provider, "voxtral-small") as transcription:
        result = document(await transcription(job_with(encoded([left, right], 16, form))))

    assert [segment["speaker"] for segment in result["segments"]] == ["SPEAKER_00", "SPEAKER_01"] * (len(left) // 3)
    assert_complete(result["segments"], sorted(left + right, key=lambda word: word.start))


async def test_no_more_pieces_are_in_memory_than_are_being_transcribed() -> None:
    audio = wav(samples([utterances(60, first=1, every=4)], 60))

    async with serving(qwen2_audio()) as provider, executor_for(provider, "qwen2-audio") as transcription:
        provider.instead = hangs()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(transcription, job_with(audio))
            with anyio.fail_after(SOON):
                await provider.called(4)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(SOON):
            await provider.idle()

    assert len(provider.heard) == 4
