"""How providers are called: deadlines, cancelling, keys, and what is said about it."""

from collections.abc import Mapping
from typing import TypeAlias

import anyio
import pytest
from pydantic import JsonValue

from tests.audio_providers import Handler, asr, qwen2_audio, serving, voxtral
from tests.providers import Answer, body, hangs, refuses, trickles
from tests.sidecar.pages import fake_server
from tests.waiting import SOON
from tests.workers.transcription.jobs import (
    KEY,
    SAID,
    SHORT,
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


@pytest.mark.parametrize(
    ("name", "routes", "answer"),
    [
        ("whisperx", asr(), hangs()),
        ("whisperx", asr(), trickles(0.02)),
        ("voxtral-small", voxtral(), hangs()),
        ("voxtral-small", voxtral(), trickles(0.02, status=500)),
    ],
)
async def test_a_provider_that_does_not_come_to_an_end_is_left_at_its_deadline(
    name: str, routes: Routes, answer: Answer
) -> None:
    async with (
        serving(routes) as provider,
        executor_for(provider, name, TRANSCRIPTION_TIMEOUT="600ms") as transcription,
    ):
        provider.instead = answer
        with anyio.fail_after(SOON):
            failure = await failure_of(transcription, job_with())
        with anyio.fail_after(SOON):
            await provider.idle()

    assert failure.category == "timeout"


@pytest.mark.parametrize(("limit", "variables"), [(0.3, {}), (None, {"TRANSCRIPTION_TIMEOUT": "300ms"})])
@pytest.mark.parametrize("answer", [hangs(), trickles(0.02)])
async def test_a_recording_that_does_not_come_is_left_at_the_deadline(
    answer: Answer, limit: float | None, variables: dict[str, str]
) -> None:
    async with (
        serving(asr()) as provider,
        fake_server({"/call.wav": answer}) as source,
        executor_for(provider, AUDIO_URL_ALLOWED_HOSTS="127.0.0.1", **variables) as transcription,
    ):
        with anyio.fail_after(SOON):
            failure = await failure_of(transcription, job_of({"audio_url": f"{source.url}/call.wav"}, timeout=limit))
        with anyio.fail_after(SOON):
            await source.idle()

    assert failure.category == "timeout"
    assert provider.asked == []


@pytest.mark.parametrize(
    ("variables", "category"),
    [
        ({"AUDIO_URL_ALLOWED_HOSTS": "127.0.0.0/8"}, None),
        ({}, "audio_unavailable"),
        ({"AUDIO_URL_ALLOWED_HOSTS": "recordings.example.com"}, "audio_unavailable"),
        ({"AUDIO_URL_ALLOWED_HOSTS": "127.0.0.0/8", "AUDIO_MAX_BYTES": "100000"}, "unsupported_audio"),
    ],
)
async def test_a_recording_comes_from_where_it_may_and_is_no_larger_than_it_may(
    variables: dict[str, str], category: str | None
) -> None:
    async with (
        serving(asr()) as provider,
        fake_server({"/call.wav": body(SHORT, content_type="audio/wav")}) as source,
        executor_for(provider, **variables) as transcription,
    ):
        job = job_of({"audio_url": f"{source.url}/call.wav"})
        if category is None:
            assert_complete(document(await transcription(job))["segments"], SAID)
        else:
            assert (await failure_of(transcription, job)).category == category

    assert len(provider.heard) == (category is None)


async def test_a_success_is_kept_when_the_job_s_own_limit_ends_a_later_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = anyio.current_time

    async def let_time_pass(_progress: JsonValue) -> None:
        monkeypatch.setattr(anyio, "current_time", lambda: now() + 3599.7)

    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        vox.instead = hangs()
        providers = {"whisperx": whisperx, "voxtral-small": vox}
        async with executor(TRANSCRIPTION_PROVIDERS=",".join(providers), **urls(providers)) as transcription:
            with anyio.fail_after(SOON):
                result = document(await transcription(job_with(timeout=3600), let_time_pass))

    assert [attempt["status"] for attempt in result["attempts"]] == ["completed", "failed"]
    assert result["attempts"][1]["error"].startswith("timeout")


@pytest.mark.parametrize(("name", "routes"), [("whisperx", asr()), ("voxtral-small", voxtral())])
@pytest.mark.parametrize("answer", [hangs(), trickles()])
async def test_cancelling_closes_the_connections_to_the_provider(name: str, routes: Routes, answer: Answer) -> None:
    async with serving(routes) as provider, executor_for(provider, name) as transcription:
        provider.instead = answer
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(transcription, job_with())
            with anyio.fail_after(SOON):
                await provider.called()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(SOON):
            await provider.idle()

    assert provider.in_progress == 0


@pytest.mark.parametrize("answer", [refuses(400, f"{KEY} is not Bearer other"), refuses(401, f"{KEY}"), body(KEY)])
async def test_no_key_leaves_in_a_message(answer: Answer) -> None:
    keys = {"WHISPERX_API_KEY": KEY, "AUDIO_LLM_API_KEY": KEY}
    async with serving(asr()) as whisperx, serving(qwen2_audio()) as qwen, serving(voxtral()) as vox:
        whisperx.instead = answer
        vox.instead = answer
        providers = {"whisperx": whisperx, "qwen2-audio": qwen, "voxtral-small": vox}
        async with executor(TRANSCRIPTION_PROVIDERS=ALL, **urls(providers), **keys) as transcription:
            result = await transcription(job_with())
            failure = await failure_of(transcription, job_with(providers=["whisperx", "voxtral-small"]))

    assert whisperx.heard[0].headers["Authorization"] == f"Bearer {KEY}"
    assert vox.heard[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(result)
    assert KEY not in repr(failure)


async def test_every_call_is_observed_by_provider_and_outcome() -> None:
    seen: list[tuple[str, str]] = []
    async with serving(asr()) as whisperx, serving(voxtral()) as vox:
        vox.instead = refuses(503, "busy")
        settings = settings_of(TRANSCRIPTION_PROVIDERS=ALL, **urls({"whisperx": whisperx, "voxtral-small": vox}))
        async with Transcription(settings, observe=lambda name, outcome, _: seen.append((name, outcome))) as execute:
            await execute(job_with())

    assert seen == [("whisperx", "ok"), ("voxtral-small", "provider_unavailable")]


async def test_the_trace_is_handed_on() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    job = job_with()
    job = job_of(job.input, traceparent=trace)

    async with serving(asr()) as provider, executor_for(provider) as transcription:
        await transcription(job)

    assert {asked.headers.get("traceparent") for asked in provider.asked} == {trace}


async def test_an_answer_over_16_mib_is_refused() -> None:
    async with serving(asr()) as provider, executor_for(provider) as transcription:
        provider.instead = body(b" " * (16 * 1024 * 1024 + 1))
        failure = await failure_of(transcription, job_with())

    assert failure.category == "invalid_response"


async def test_a_provider_that_is_not_there_is_unavailable() -> None:
    async with executor(WHISPERX_URL="http://127.0.0.1:1") as transcription:
        failure = await failure_of(transcription, job_with())

    assert failure.category == "provider_unavailable"
