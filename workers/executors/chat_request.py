"""What a chat job sends to its provider."""

import json
from collections.abc import Callable, Mapping
from typing import Final, TypeGuard

from pydantic import JsonValue

from workers.failures import Failure


def chat_request(job_input: JsonValue) -> dict[str, JsonValue]:
    """The body of the request, but for its `model`: `messages`, and what is given of `FORWARDED`.

    Beside `messages`, `system` and `user` are the caller's own keys. Null is as good as left out.
    Raises `Failure` with `invalid_input` that names the field.
    """
    if not isinstance(job_input, dict):
        raise Failure("invalid_input", "input: must be an object")
    request: dict[str, JsonValue] = {"messages": _messages(job_input)}
    for name, (is_valid, expected) in FORWARDED.items():
        value = job_input.get(name)
        if value is None:
            continue
        if not is_valid(value):
            raise Failure("invalid_input", f"input.{name}: must be {expected}")
        request[name] = value
    return request


def wants_json(request: Mapping[str, JsonValue]) -> bool:
    """Whether `response_format` asks for content that parses as JSON."""
    match request.get("response_format"):
        case {"type": "json_object" | "json_schema"}:
            return True
        case _:
            return False


def schema_of(request: Mapping[str, JsonValue]) -> str | None:
    """The JSON schema that the content is to fit, as JSON, if there is one.

    Raises `Failure` with `invalid_input` for one that is no object.
    """
    match request.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return _json(schema)
        case {"type": "json_schema", "json_schema": {"schema": schema}} if schema is not None:
            raise Failure("invalid_input", "input.response_format.json_schema.schema: must be an object")
        case _:
            return None


def _json(schema: dict[str, JsonValue]) -> str:
    try:
        return json.dumps(schema)
    except RecursionError:
        raise Failure("invalid_input", "input.response_format.json_schema.schema: is nested too deeply") from None


def _messages(job_input: Mapping[str, JsonValue]) -> list[JsonValue]:
    messages = job_input.get("messages")
    if messages is None or messages == []:
        return _prompts(job_input)
    if not _is_objects(messages):
        raise Failure("invalid_input", "input.messages: must be a list of objects")
    return messages


def _prompts(job_input: Mapping[str, JsonValue]) -> list[JsonValue]:
    prompts: list[JsonValue] = []
    for role in ("system", "user"):
        content = job_input.get(role)
        if content is not None and not isinstance(content, str):
            raise Failure("invalid_input", f"input.{role}: must be a string")
        if content:
            prompts.append({"role": role, "content": content})
    if not prompts:
        raise Failure("invalid_input", "input: needs messages, or system or user")
    return prompts


def _is_integer(value: JsonValue) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, float) or _is_integer(value)


def _is_object(value: JsonValue) -> bool:
    return isinstance(value, dict)


def _is_objects(value: JsonValue) -> TypeGuard[list[JsonValue]]:
    return isinstance(value, list) and all(_is_object(item) for item in value)


def _is_name_or_object(value: JsonValue) -> bool:
    return isinstance(value, str) or _is_object(value)


def _is_stop(value: JsonValue) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(isinstance(item, str) for item in items)


# Types only: whether a value makes sense is for the provider to say.
FORWARDED: Final[Mapping[str, tuple[Callable[[JsonValue], bool], str]]] = {
    "max_tokens": (_is_integer, "an integer"),
    "temperature": (_is_number, "a number"),
    "top_p": (_is_number, "a number"),
    "seed": (_is_integer, "an integer"),
    "stop": (_is_stop, "a string or a list of strings"),
    "presence_penalty": (_is_number, "a number"),
    "frequency_penalty": (_is_number, "a number"),
    "response_format": (_is_object, "an object"),
    "tools": (_is_objects, "a list of objects"),
    "tool_choice": (_is_name_or_object, "a string or an object"),
}
