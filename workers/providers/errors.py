"""What went wrong with a provider, told from what it answered or from how the connection ended."""

import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp

from workers.failures import Failure

MAX_ERROR: Final = 64 * 1024  # of a body: more than any message, less than harm
MAX_RETRY_AFTER: Final = timedelta(days=1)

# Everything that is not named here and not decided by the text is `provider_error`.
_BY_STATUS: Final = {
    400: "invalid_input",
    401: "unauthorized",
    402: "unauthorized",  # the account has no balance
    403: "unauthorized",
    404: "provider_unavailable",  # no such route: a wrong base URL, or an ingress without a backend
    405: "provider_unavailable",
    408: "timeout",
    410: "provider_unavailable",
    413: "invalid_input",
    414: "invalid_input",
    415: "invalid_input",
    422: "invalid_input",
    429: "rate_limited",
    431: "invalid_input",
    501: "invalid_input",  # vLLM: a part of a message that it does not implement
    502: "provider_unavailable",
    503: "provider_unavailable",  # vLLM's only word for overload
    504: "timeout",
}

# An error names its kind in `code`, `type`, `param` or only in prose: vLLM says `code: 400` for
# every mistake. Each pattern holds for its statuses alone, the first that is found decides.
_BY_TEXT: Final = (
    # vLLM after its engine crashed; it exits a moment later.
    (range(400, 600), "provider_unavailable", r"EngineCore encountered an issue|EngineDeadError"),
    (
        (400, 403),
        "content_filter",
        r"content_filter|content_policy_violation|moderation_blocked|input was flagged",
    ),
    (
        (400, 413, 422),
        "context_length_exceeded",
        # vLLM, OpenAI, sglang, llama.cpp, LM Studio, TGI, Anthropic
        (
            r"context_length_exceeded|\bparam=input_tokens\b|maximum context length"
            r"|context length is|(?:longer|greater) than the (?:model's )?context length"
            r"|exceeds this limit|exceed_context_size|available context size"
            r"|`max_new_tokens` must be|prompt is too long"
        ),
    ),
    (
        (400, 404),
        "model_not_found",
        (
            r"model_not_found|\bparam=model\b|invalid model name|not a valid model"
            r"|\bmodel\b.{0,300}?(?:does not exist|not found)"
        ),
    ),
)


@dataclass(frozen=True)
class ProviderError:
    """What the body of an error says; the parts it does not have are empty."""

    message: str
    kind: str  # "code=… type=… param=…", for patterns and people

    @classmethod
    def parse(cls, body: bytes) -> "ProviderError":
        """Read OpenAI's shape, its flat variant, `error` or `detail` as a text, HTML or prose."""
        text = body.decode(errors="replace").strip()
        said: object = None
        with suppress(ValueError, RecursionError):
            said = json.loads(text)
        if not isinstance(said, dict):
            return cls(" ".join(re.sub(r"<[^>]*>", " ", text).split()), "")
        error = said.get("error") or said
        if not isinstance(error, dict):
            return cls(str(error), "")
        message = error.get("message") or error.get("detail") or text
        names = ("code", "type", "param")
        kind = " ".join(f"{name}={error[name]}" for name in names if error.get(name) is not None)
        return cls(message if isinstance(message, str) else json.dumps(message), kind)


def status_failure(
    status: int, headers: Mapping[str, str], body: bytes, *, service: str = "chat completions"
) -> Failure:
    """The failure that an answer without success stands for; `headers` are case-insensitive.

    `service` is what the address was expected to offer.
    """
    error = ProviderError.parse(body)
    category = _category(status, f"{error.kind} {error.message}")
    # Some servers answer with the key they expected, which no redaction knows.
    said = error.kind if category == "unauthorized" else error.message
    message = f"the provider answered {status} {_phrase(status)}".rstrip()
    if status in (404, 405, 410) and category == "provider_unavailable":
        message += f": there are no {service} at this address"
    if said:
        message += f": {said}"
    return Failure(category, message, retry_after=retry_after(headers))


def connection_failure(error: BaseException) -> Failure | None:
    """The failure that an exception of the HTTP client stands for, or None if it is a bug.

    Told from the chain of causes: openai's aiohttp transport turns refused and dropped connections
    and failing DNS into `APITimeoutError`, as it does timeouts.
    """
    chain = list(_causes(error))
    closest = next((cause for cause in chain if isinstance(cause, aiohttp.ClientError)), chain[-1])
    said = f"{type(closest).__name__}: {closest}"
    if any(isinstance(cause, aiohttp.SocketTimeoutError) for cause in chain):
        return Failure("timeout", f"the provider fell silent: {said}")
    lost = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError)
    if any(isinstance(cause, lost) for cause in chain):
        return Failure("provider_unavailable", f"the connection to the provider failed: {said}")
    if any(isinstance(cause, (aiohttp.ClientError, zlib.error)) for cause in chain):
        return Failure("invalid_response", f"the provider does not speak HTTP: {said}")
    return None


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """How long the provider asks to wait, at most a day (RFC 9110, 10.2.3: seconds or a date)."""
    value = headers.get("Retry-After", "")
    seconds = _seconds(value)
    if seconds is None:
        until = _date(value)
        if until is None:
            return None
        # Its own clock, where it shows it: ours may be off.
        now = _date(headers.get("Date", "")) or datetime.now(UTC)
        seconds = (until - now).total_seconds()
    return timedelta(seconds=min(max(seconds, 0.0), MAX_RETRY_AFTER.total_seconds()))


def _category(status: int, said: str) -> str:
    for statuses, category, pattern in _BY_TEXT:
        if status in statuses and re.search(pattern, said, re.IGNORECASE | re.DOTALL):
            return category
    if status < HTTPStatus.BAD_REQUEST:
        return "provider_unavailable"  # a redirect: this address is not the provider
    return _BY_STATUS.get(status, "provider_error")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return HTTPStatus(status).phrase
    return ""


def _seconds(value: str) -> float | None:
    with suppress(ValueError):
        seconds = float(value)
        return seconds if math.isfinite(seconds) else None
    return None


def _date(value: str) -> datetime | None:
    with suppress(ValueError):
        date = parsedate_to_datetime(value)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
