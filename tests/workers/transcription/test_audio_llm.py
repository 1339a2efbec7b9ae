"""What Qwen2-Audio and Voxtral are asked, and what is made of their answers."""

from collections.abc import Mapping
from typing import TypeAlias

import pytest

from tests.audio_providers import Handler, qwen2_audio, serving, voxtral
from tests.providers import refuses
from tests.workers.audio.recordings import Word, shape_of
from tests.workers.transcription.jobs import SAID, document, executor_for, failure_of, job_with

Routes: TypeAlias = Mapping[tuple[str, str], Handler]


async def test_a_piece_is_asked_for_as_a_data_url_with_the_prompt() -> None:
    variables = {"AUDIO_LLM_PROMPT": "Write down what is said.", "AUDIO_LLM_MAX_TOKENS": "512", "QWEN_AUDIO_MODEL": "m"}

    async with serving(qwen2_audio()) as provider, executor_for(provider, "qwen2-audio", **variables) as transcription:
        await transcription(job_with(language="ru", prompt="Билайн"))

    asked = provider.heard[0]
    messages = asked.options["messages"]
    assert isinstance(messages, list)
    (message,) = messages
    assert {name: value for name, value in asked.options.items() if name != "messages"} == {
        "model": "m",
        "max_tokens": 512,
        "temperature": 0,
    }
    assert [part["type"] for part in message["content"]] == ["audio_url", "text"]
    assert message["content"][1]["text"].splitlines() == [
        "Write down what is said.",
        "The language spoken is: ru.",
        "What helps with names and spelling: Билайн",
    ]
    assert shape_of(asked.audio) == (1, 16_000)


async def test_voxtral_s_own_route_is_asked_without_an_instruction() -> None:
    variables = {"VOXTRAL_API": "transcriptions", "VOXTRAL_MODEL": "m"}

    async with serving(voxtral()) as provider, executor_for(provider, "voxtral-small", **variables) as transcription:
        await transcription(job_with(language="ru"))

    assert provider.heard[0].options == {
        "response_format": "json",
        "model": "m",
        "language": "ru",
        "temperature": "0",
        "file_field": "file",
    }


async def test_a_transcript_that_the_model_did_not_finish_is_a_failure_that_cost_tokens() -> None:
    routes = qwen2_audio(finish_reason="length")

    async with serving(routes) as provider, executor_for(provider, "qwen2-audio") as transcription:
        failure = await failure_of(transcription, job_with())

    assert failure.category == "output_truncated"
    assert failure.usage is not None
    assert failure.usage["total_tokens"] >= 110


async def test_a_piece_in_which_the_model_heard_nothing_has_no_segment() -> None:
    def deaf_to_the_first(words: list[Word]) -> str:
        return "" if words[0].number == SAID[0].number else "said"

    routes = qwen2_audio(deaf_to_the_first)

    async with serving(routes) as provider, executor_for(provider, "qwen2-audio") as transcription:
        result = document(await transcription(job_with()))

    assert [segment["text"] for segment in result["segments"]] == ["said"]


@pytest.mark.parametrize(("name", "routes"), [("qwen2-audio", qwen2_audio()), ("voxtral-small", voxtral())])
async def test_one_piece_that_fails_fails_the_attempt(name: str, routes: Routes) -> None:
    async with serving(routes) as provider, executor_for(provider, name) as transcription:
        provider.instead = refuses(503, "engine is currently busy", headers={"Retry-After": "7"})
        failure = await failure_of(transcription, job_with())

    assert failure.category == "provider_unavailable"
    assert failure.retry_after is not None
    assert failure.retry_after.total_seconds() == 7
