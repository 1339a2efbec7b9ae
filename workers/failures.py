"""How an attempt ends that does not end well: its category, and what may be said about it."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from enum import Enum, auto
from typing import Final

from pydantic import JsonValue


class Fate(Enum):
    """What becomes of a job after a failure."""

    RETRIED = auto()  # the failure counts, and another attempt may do better
    FINAL = auto()  # another attempt would end the same way
    RELEASED = auto()  # the provider's trouble, not the job's: it goes back unharmed


FATES: Final = {
    "timeout": Fate.RETRIED,
    "provider_error": Fate.RETRIED,
    "invalid_response": Fate.RETRIED,
    "internal": Fate.RETRIED,
    "context_length_exceeded": Fate.FINAL,
    "content_filter": Fate.FINAL,
    "output_truncated": Fate.FINAL,
    "invalid_input": Fate.FINAL,
    "audio_unavailable": Fate.FINAL,
    "unsupported_audio": Fate.FINAL,
    "rate_limited": Fate.RELEASED,
    "provider_unavailable": Fate.RELEASED,
    "unauthorized": Fate.RELEASED,
    "model_not_found": Fate.RELEASED,
}

MAX_MESSAGE: Final = 2_000
REDACTED: Final = "[redacted]"

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT: Final = "\ufffd"
_BEARER: Final = re.compile(r"\b(bearer(?:\s+token)?)[\s:=]+\S+", re.IGNORECASE)
_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")


class Failure(Exception):  # noqa: N818 - a failure of the attempt, not an error of ours
    """An attempt failed, and `category` (a key of `FATES`, else KeyError) says how.

    `usage` is that of `Outcome`: a failure may have cost tokens. `retry_after` is how long the
    provider asked to be left alone. `troubles` has the failures of providers in trouble by their
    names, where an attempt may call several; None and `provider_trouble` means the profile's own.
    Where it is empty nothing new is known of any provider, and the job waits for `retry_after`.
    """

    def __init__(
        self,
        category: str,
        message: str,
        *,
        usage: dict[str, int] | None = None,
        retry_after: timedelta | None = None,
        troubles: "Mapping[str, Failure] | None" = None,
    ) -> None:
        super().__init__(category, message)
        self.category = category
        self.message = message
        self.retryable = FATES[category] is Fate.RETRIED
        self.provider_trouble = FATES[category] is Fate.RELEASED
        self.usage = usage
        self.retry_after = retry_after
        self.troubles = None if troubles is None else dict(troubles)

    def __str__(self) -> str:
        return f"{self.category}: {self.message}"

    def presentable(self, secrets: Collection[str]) -> "Failure":
        """The same failure with a message that may be stored and shown: clean, redacted, short."""
        # Cut last: half a secret would not be recognised.
        message = redact(clean(self.message), secrets)[:MAX_MESSAGE]
        troubles = self.troubles and {name: trouble.presentable(secrets) for name, trouble in self.troubles.items()}
        return Failure(self.category, message, usage=self.usage, retry_after=self.retry_after, troubles=troubles)


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, bearer tokens of whatever origin, and passwords in URLs."""
    # Longest first: a secret may begin with another one.
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = _USERINFO.sub(REDACTED, text)
    return _BEARER.sub(rf"\1 {REDACTED}", text)


def clean(text: str) -> str:
    """The text as PostgreSQL can store it: NUL and lone surrogates become U+FFFD."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def clean_json(value: JsonValue) -> JsonValue:
    """The value as a column of type `json` can store it: texts `clean`, NaN and infinity null."""
    match value:
        case str():
            return clean(value)
        case float():
            return value if math.isfinite(value) else None
        case list():
            return [clean_json(item) for item in value]
        case dict():
            return {clean(key): clean_json(item) for key, item in value.items()}
        case _:
            return value
