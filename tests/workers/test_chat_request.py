"""What a chat job sends to its provider, and what it refuses to send."""

import pytest
from pydantic import JsonValue

from tests.workers.chats import chat_job, chat_with_provider
from workers.failures import Failure


async def test_messages_go_to_the_provider_as_they_are() -> None:
    messages: list[JsonValue] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi 😀"}], "name": "Ann"},
    ]

    async with chat_with_provider() as (chat, provider):
        await chat(chat_job({"messages": messages, "user": "someone", "system": "ignored"}))

    assert provider.last.path == "/v1/chat/completions"
    assert provider.last.json == {"model": "qwen", "messages": messages}


@pytest.mark.parametrize("given", [{"system": "Be brief.", "user": "Hi."}, {"system": "Be brief."}, {"user": "Hi."}])
async def test_system_and_user_become_messages(given: dict[str, JsonValue]) -> None:
    async with chat_with_provider() as (chat, provider):
        await chat(chat_job(given))

    assert provider.last.json == {
        "model": "qwen",
        "messages": [{"role": role, "content": text} for role, text in given.items()],
    }


async def test_only_the_fields_of_the_contract_are_forwarded() -> None:
    forwarded: dict[str, JsonValue] = {
        "max_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["\n"],
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "response_format": {"type": "text"},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "auto",
    }
    private: dict[str, JsonValue] = {"call_id": "42", "model": "other", "n": 3, "stream": True}

    async with chat_with_provider() as (chat, provider):
        await chat(chat_job({"user": "Hi.", **forwarded, **private, "logit_bias": None}))

    assert isinstance(provider.last.json, dict)
    assert provider.last.json == {
        "model": "qwen",
        "messages": [{"role": "user", "content": "Hi."}],
        **forwarded,
    }


async def test_null_is_as_good_as_left_out() -> None:
    async with chat_with_provider() as (chat, provider):
        await chat(chat_job({"user": "Hi.", "system": None, "messages": None, "stop": None}))

    assert provider.last.json == {
        "model": "qwen",
        "messages": [{"role": "user", "content": "Hi."}],
    }


@pytest.mark.parametrize(
    ("job_input", "named"),
    [
        ({}, "messages"),
        ({"messages": [], "user": ""}, "messages"),
        ({"messages": "Hi."}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["Hi."]}, "messages"),
        ({"user": 1}, "user"),
        ({"user": "Hi.", "system": ["Be brief."]}, "system"),
        ({"user": "Hi.", "max_tokens": "5"}, "max_tokens"),
        ({"user": "Hi.", "max_tokens": True}, "max_tokens"),
        ({"user": "Hi.", "temperature": "hot"}, "temperature"),
        ({"user": "Hi.", "seed": 1.5}, "seed"),
        ({"user": "Hi.", "stop": [1]}, "stop"),
        ({"user": "Hi.", "response_format": "json"}, "response_format"),
        ({"user": "Hi.", "tools": {}}, "tools"),
        ({"user": "Hi.", "tool_choice": 1}, "tool_choice"),
        ({"user": "Hi.", "temperature": float("inf")}, "input"),
        ({"user": "half a \ud83d pair"}, "input"),
        (["Hi."], "input"),
        (None, "input"),
    ],
)
async def test_an_input_that_makes_no_sense_is_refused_by_field_and_never_sent(
    job_input: JsonValue, named: str
) -> None:
    async with chat_with_provider() as (chat, provider):
        with pytest.raises(Failure, match=named) as raised:
            await chat(chat_job(job_input))

    assert raised.value.category == "invalid_input"
    assert not raised.value.retryable
    assert provider.requests == []
