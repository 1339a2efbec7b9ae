"""What all answers of providers have in common: JSON that is read leniently, as servers differ."""

import json
from typing import Final, TypeGuard

from pydantic import JsonValue

from workers.failures import Failure, clean_json
from workers.providers.errors import MAX_ERROR, ProviderError

# What providers call the tokens, and we: OpenAI's transcriptions have words of their own.
_COUNTS: Final = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "total_tokens": "total_tokens",
}
_MAX_COUNT: Final = 2**31


def parsed(body: bytes) -> JsonValue:
    """The body of a success as JSON, fit to be stored. Raises `Failure` with `invalid_response`."""
    # Lenient where a model was cut off within a character, as llama.cpp does.
    text = body.decode("utf-8-sig", errors="replace")
    try:
        return clean_json(json.loads(text))
    except (ValueError, RecursionError):
        said = ProviderError.parse(body[:MAX_ERROR]).message
        # Without a cause, which would hold the whole answer.
        raise Failure("invalid_response", f"the answer is no JSON: {said}") from None


def parsed_object(body: bytes) -> dict[str, JsonValue]:
    """The same of a body that must be an object."""
    answer = parsed(body)
    if not isinstance(answer, dict):
        raise Failure("invalid_response", "the answer is no JSON object")
    return answer


def text_of(value: JsonValue) -> str | None:
    """The value if it is a text that says something."""
    return value if isinstance(value, str) and value else None


def usage_in(answer: dict[str, JsonValue]) -> dict[str, int] | None:
    """What the provider counted, by the names of chat completions, if it did."""
    usage = answer.get("usage")
    if not isinstance(usage, dict):
        return None
    counts = {name: count for said, name in _COUNTS.items() if _is_count(count := usage.get(said))}
    return counts or None


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_COUNT
