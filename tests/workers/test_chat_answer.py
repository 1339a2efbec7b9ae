"""What becomes of the answers that providers give with status 200."""

import json
import time

import pytest
from pydantic import JsonValue

from tests.providers import USAGE, Answer, body, content, refuses
from tests.workers.chats import (
    AS_JSON,
    HELLO,
    MIB,
    chat_job,
    chat_with_provider,
    failure_of,
    result_of,
)


async def test_the_result_is_what_the_contract_says() -> None:
    async with chat_with_provider(content("Hello.")) as (chat, _):
        outcome = await chat(HELLO)

    duration_ms = result_of(outcome)["duration_ms"]
    assert isinstance(duration_ms, int)
    assert outcome.result == {
        "content": "Hello.",
        "model": "served-model",
        "usage": USAGE,
        "duration_ms": duration_ms,
        "finish_reason": "stop",
    }
    assert outcome.usage == USAGE


async def test_the_duration_is_that_of_the_call() -> None:
    async with chat_with_provider(content("Hello.")) as (chat, _):
        started = time.monotonic()
        outcome = await chat(HELLO)
        elapsed_ms = (time.monotonic() - started) * 1000

    duration_ms = result_of(outcome)["duration_ms"]
    assert isinstance(duration_ms, int)
    assert 0 <= duration_ms <= elapsed_ms + 1


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (None, None),
        ({}, None),
        ({"total_tokens": 5}, {"total_tokens": 5}),
        ({"prompt_tokens": "4", "completion_tokens": 1}, {"completion_tokens": 1}),
        ({"prompt_tokens": True, "completion_tokens": -1, "total_tokens": 1e3}, None),
        ({"prompt_tokens": 4, "total_tokens": None, "details": {}}, {"prompt_tokens": 4}),
    ],
)
async def test_usage_is_what_the_provider_counted(
    reported: dict[str, JsonValue] | None, usage: dict[str, int] | None
) -> None:
    async with chat_with_provider(content("Hello.", usage=reported)) as (chat, _):
        outcome = await chat(HELLO)

    assert outcome.usage == usage
    assert result_of(outcome)["usage"] == usage


async def test_a_call_of_tools_is_a_success_without_content() -> None:
    calls: list[JsonValue] = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = content(None, finish_reason="tool_calls", tool_calls=calls)

    async with chat_with_provider(answer) as (chat, _):
        outcome = await chat(AS_JSON)

    assert result_of(outcome)["content"] is None
    assert result_of(outcome)["tool_calls"] == calls


async def test_content_in_parts_is_joined() -> None:
    parts: list[JsonValue] = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo."}]

    async with chat_with_provider(content(parts)) as (chat, _):
        outcome = await chat(HELLO)

    assert result_of(outcome)["content"] == "Hello."


async def test_nul_and_lone_surrogates_of_an_answer_are_replaced() -> None:
    calls: list[JsonValue] = [{"function": {"arguments": "\x00"}}]

    async with chat_with_provider(content("a\x00b\ud83dc😀", tool_calls=calls)) as (chat, _):
        outcome = await chat(HELLO)

    assert result_of(outcome)["content"] == "a\ufffdb\ufffdc😀"
    assert result_of(outcome)["tool_calls"] == [{"function": {"arguments": "\ufffd"}}]


async def test_an_answer_that_was_cut_off_within_a_character_is_read() -> None:
    raw = b'{"choices": [{"message": {"content": "caf\xc3"}}]}'

    async with chat_with_provider(body(raw)) as (chat, _):
        outcome = await chat(HELLO)

    assert result_of(outcome)["content"] == "caf\ufffd"
    assert result_of(outcome)["model"] == "qwen"


async def test_json_that_was_asked_for_and_parses_is_a_success() -> None:
    async with chat_with_provider(content('{"a": 1}', finish_reason="length")) as (chat, _):
        outcome = await chat(AS_JSON)

    assert result_of(outcome)["content"] == '{"a": 1}'


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
@pytest.mark.parametrize(("finish_reason", "category"), [("length", "output_truncated"), ("stop", "invalid_response")])
async def test_content_that_is_not_the_json_that_was_asked_for_is_a_failure(
    kind: str, finish_reason: str, category: str
) -> None:
    asked = chat_job({"user": "Hello?", "response_format": {"type": kind}})

    failure = await failure_of(asked, content('{"a": ', finish_reason=finish_reason))

    assert failure.category == category
    assert failure.usage == USAGE


async def test_nan_is_not_the_json_that_was_asked_for() -> None:
    failure = await failure_of(AS_JSON, content('{"a": NaN}'))

    assert failure.category == "invalid_response"


async def test_a_model_that_ran_out_of_tokens_before_any_content_was_truncated() -> None:
    failure = await failure_of(HELLO, content(None, finish_reason="length"))

    assert failure.category == "output_truncated"


@pytest.mark.parametrize(
    "answer",
    [
        content("I", finish_reason="content_filter"),
        content(None, refusal="I cannot help with that."),
        refuses(400, {"error": {"code": "content_filter", "message": "Filtered."}}),
        refuses(403, "Your chosen model requires moderation and your input was flagged."),
    ],
)
async def test_what_a_filter_stops_is_final(answer: Answer) -> None:
    failure = await failure_of(HELLO, answer)

    assert failure.category == "content_filter"
    assert not failure.retryable


@pytest.mark.parametrize(
    "answer",
    [
        body("<html><body>Welcome to nginx!</body></html>", content_type="text/html"),
        body("", content_type="text/plain"),
        body('"just a text"'),
        body("[1, 2]"),
        body("{}"),
        body("null"),
        body('{"choices": null}'),
        body('{"choices": []}'),
        body('{"choices": [null]}'),
        body('{"choices": [{"text": "old protocol"}]}'),
        body('{"choices": [{"message": {"content": "cut o'),
        body('{"error": {"message": "engine on fire"}}'),
        body("[" * 100_000),
        body('{"choices": ' + "9" * 5000 + "}"),
        content(None),
        content({"text": "a dict"}),
        content([{"type": "image"}]),
        content(17),
        content("Hello.", tool_calls="f()"),
        body(b"not gzip", headers={"Content-Encoding": "gzip"}),
    ],
)
async def test_a_success_without_the_shape_of_one_is_an_invalid_response(answer: Answer) -> None:
    failure = await failure_of(HELLO, answer)

    assert failure.category == "invalid_response"
    assert failure.retryable


async def test_an_answer_of_16_mib_is_read() -> None:
    around = len(json.dumps({"choices": [{"message": {"content": ""}}]}))
    text = json.dumps({"choices": [{"message": {"content": "x" * (16 * MIB - around)}}]})

    async with chat_with_provider(body(text)) as (chat, _):
        outcome = await chat(HELLO)

    assert len(text) == 16 * MIB
    assert len(str(result_of(outcome)["content"])) == 16 * MIB - around


async def test_an_answer_over_16_mib_is_refused() -> None:
    failure = await failure_of(HELLO, content("x" * 16 * MIB))

    assert failure.category == "invalid_response"
    assert "16 MiB" in failure.message


async def test_an_endless_error_is_read_only_as_far_as_it_is_of_use() -> None:
    failure = await failure_of(HELLO, refuses(500, "x" * 32 * MIB))

    assert failure.category == "provider_error"
    assert len(failure.message) <= 2000
