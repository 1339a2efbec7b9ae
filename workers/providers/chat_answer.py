"""What a chat completions endpoint answered, once it is known to be an answer."""

import json
from dataclasses import dataclass
from typing import NoReturn

from pydantic import JsonValue

from workers.failures import Failure
from workers.providers.answers import parsed_object, text_of, usage_in


@dataclass(frozen=True)
class Answer:
    """The first choice of a chat completion; `content` is None when the model calls tools."""

    content: str | None
    tool_calls: list[JsonValue]
    finish_reason: str | None
    model: str | None
    usage: dict[str, int] | None

    @classmethod
    def parse(cls, body: bytes, *, json_wanted: bool) -> "Answer":
        """Read the body of a success, which may be anything.

        Raises `Failure`: `content_filter`; `output_truncated`, when the model ran out of tokens
        before the content that was asked for; `invalid_response`.
        """
        completion = parsed_object(body)
        choice, message = _choice(completion)
        usage = usage_in(completion)
        finish_reason = text_of(choice.get("finish_reason"))
        refusal = text_of(message.get("refusal"))
        if finish_reason == "content_filter" or refusal:
            why = "the provider's filter stopped the answer" if refusal is None else refusal
            raise Failure("content_filter", why, usage=usage)
        tool_calls = message.get("tool_calls") or []
        if not isinstance(tool_calls, list):
            raise Failure("invalid_response", "tool_calls is no list", usage=usage)
        content = _content(message)
        flaw = None if tool_calls else _flaw(content, json_wanted=json_wanted)
        answer = cls(content, tool_calls, finish_reason, text_of(completion.get("model")), usage)
        if flaw:
            raise answer.flawed(flaw)
        return answer

    def flawed(self, flaw: str) -> Failure:
        """The failure that the flaw of the content is: a model that ran out of tokens did not get to do better."""
        if self.finish_reason == "length":
            return Failure("output_truncated", f"the model ran out of tokens: {flaw}", usage=self.usage)
        return Failure("invalid_response", flaw, usage=self.usage)


def _choice(completion: dict[str, JsonValue]) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
    match completion:
        case {"choices": [dict(choice), *_]} if isinstance(message := choice.get("message"), dict):
            return choice, message
        case {"error": error} if error:
            said = error.get("message") if isinstance(error, dict) else error
            raise Failure("invalid_response", f"the provider answered 200 with an error: {said}")
        case _:
            raise Failure("invalid_response", "the answer has no choice with a message")


def _content(message: dict[str, JsonValue]) -> str | None:
    match message.get("content"):
        case None:
            return None
        case str(content):
            return content
        case list(parts):
            # Some servers answer with parts, as requests may have them.
            return "".join(_part(part) for part in parts)
        case _:
            raise Failure("invalid_response", "the content is no text")


def _part(part: JsonValue) -> str:
    match part:
        case {"text": str(text)}:
            return text
        case _:
            raise Failure("invalid_response", "a part of the content is no text")


def _flaw(content: str | None, *, json_wanted: bool) -> str | None:
    if content is None:
        return "the answer has no content"
    if json_wanted:
        try:
            json.loads(content, parse_constant=_no_json)
        except (ValueError, RecursionError):
            return "JSON was asked for and the content is none"
    return None


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)
