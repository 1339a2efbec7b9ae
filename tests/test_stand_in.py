"""The stand-in provider, called the way a worker calls a real one."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest

from aiserv.stand_in import stand_in_provider
from tests.waiting import SOON
from tests.workers.chats import chat_job, result_of
from workers.executors.chat import Chat
from workers.failures import Failure

if TYPE_CHECKING:
    from pydantic import JsonValue


LINE: "JsonValue" = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "price": {"type": "number", "minimum": 0.5}},
    "required": ["name", "price"],
    "additionalProperties": False,
}
TREE: "JsonValue" = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "left": {"$ref": "#/$defs/tree"}},
    "required": ["name"],
}


@asynccontextmanager
async def chat_with_stand_in(model: str = "qwen") -> AsyncIterator[Chat]:
    async with stand_in_provider("qwen") as base_url:
        timeout = timedelta(seconds=SOON)
        async with Chat(base_url=base_url, api_key=None, model=model, timeout=timeout) as chat:
            yield chat


async def test_every_answer_says_that_there_is_no_model() -> None:
    async with chat_with_stand_in() as chat:
        outcome = await chat(chat_job({"system": "Be brief.", "user": "Is anybody there?"}))

    result = result_of(outcome)
    assert result["content"] == "[stand-in provider, no model] You said: Is anybody there?"
    assert result["model"] == "qwen (stand-in provider, no model)"
    assert result["finish_reason"] == "stop"
    assert outcome.usage is not None
    assert outcome.usage["total_tokens"] > 0


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
async def test_json_is_answered_with_json_that_says_the_same(kind: str) -> None:
    async with chat_with_stand_in() as chat:
        outcome = await chat(chat_job({"user": "Hi.", "response_format": {"type": kind}}))

    said = json.loads(str(result_of(outcome)["content"]))
    assert said == {"stand_in": True, "note": "stand-in provider, no model", "you_said": "Hi."}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "string", "maxLength": 7}, "b": {"type": "boolean"}}},
        {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "null"}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}, "minItems": 3}}},
        {"type": "object", "properties": {"a": {"type": ["number", "null"], "exclusiveMinimum": 2, "maximum": 3}}},
        {"type": "object", "properties": {"a": {"type": "integer", "maximum": -3, "multipleOf": 2}}},
        {"type": "object", "properties": {"a": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}}},
        {"type": "object", "properties": {"a": {"enum": ["good", "bad"]}, "b": {"const": [1]}}},
        {"type": "object", "properties": {"a": {"type": "string", "format": "date-time"}, "b": {"minLength": 900}}},
        {"properties": {"a": {"anyOf": [{"$ref": "#/$defs/line"}, {"type": "null"}]}}, "$defs": {"line": LINE}},
        {"$ref": "#/$defs/tree", "$defs": {"tree": TREE}},
        {"type": "array", "minItems": 1, "items": LINE},
    ],
)
async def test_a_simple_schema_is_answered_with_json_that_fits(schema: "JsonValue") -> None:
    form: JsonValue = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    # The executor checks it.
    async with chat_with_stand_in() as chat:
        outcome = await chat(chat_job({"user": "Hi.", "response_format": form}))

    assert json.loads(str(result_of(outcome)["content"])) is not None


async def test_the_texts_of_parts_are_repeated() -> None:
    message: JsonValue = {
        "role": "user",
        "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there."}],
    }

    async with chat_with_stand_in() as chat:
        outcome = await chat(chat_job({"messages": [message]}))

    assert str(result_of(outcome)["content"]).endswith("You said: Hi there.")


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's advice to openai
async def test_a_long_text_is_repeated_in_part() -> None:
    async with chat_with_stand_in() as chat:
        outcome = await chat(chat_job({"user": "x" * 2_000_000}))

    assert str(result_of(outcome)["content"]).endswith(f"{'x' * 500}…")


async def test_another_model_is_not_found() -> None:
    async with chat_with_stand_in(model="other") as chat:
        with pytest.raises(Failure) as raised:
            await chat(chat_job({"user": "Hi."}))

    assert raised.value.category == "model_not_found"


async def test_it_lists_its_model() -> None:
    async with (
        stand_in_provider("qwen") as base_url,
        aiohttp.ClientSession() as session,
        session.get(f"{base_url}/models") as response,
    ):
        listed = await response.json()

    assert [model["id"] for model in listed["data"]] == ["qwen"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ('{"model": "qwen", "messages": [{"role": "user"}], "stream": true}', "does not stream"),
        ('{"model": "qwen", "messages": []}', "messages"),
        ('{"messages": [{"role": "user", "content": "Hi."}]}', "model"),
        ("Hi.", "no JSON"),
        ("[]", "model"),
    ],
)
async def test_a_bad_request_gets_an_error_of_the_protocol(sent: str, said: str) -> None:
    async with (
        stand_in_provider("qwen") as base_url,
        aiohttp.ClientSession() as session,
        session.post(f"{base_url}/chat/completions", data=sent) as response,
    ):
        answered = await response.json()

    assert response.status == 400
    assert said in answered["error"]["message"]


async def test_an_unknown_route_gets_an_error_of_the_protocol() -> None:
    async with (
        stand_in_provider("qwen") as base_url,
        aiohttp.ClientSession() as session,
        session.post(f"{base_url}/embeddings") as response,
    ):
        answered = await response.json()

    assert response.status == 404
    assert answered["error"]["message"] == "Not Found"
