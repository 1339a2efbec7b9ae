"""The kinds of values that settings hold: each is checked, and typed, in one place."""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

import durationpy
from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, SecretStr

_NUMBER: Final = r"(?:\d+\.?\d*|\.\d+)"
_SECONDS: Final = re.compile(_NUMBER, re.ASCII)
# Go takes the micro sign and the Greek letter.
_DURATION: Final = re.compile(rf"[+-]?(?:{_NUMBER}(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+", re.ASCII)
_HOST: Final = re.compile(r"(?![\d.]+$)(?:\*\.)?[\w-]+(?:\.[\w-]+)*", re.ASCII)
_WEB_URL: Final = re.compile(r"https?://(?:[\w.-]+|\[[\da-f:.]+\])(?::\d+)?(?:/[^\s?#]*)?", re.ASCII | re.IGNORECASE)
_POSTGRES_URL: Final = re.compile(r"postgres(?:ql)?://|\w+ *=")
# What Go's pgx takes and libpq refuses: https://pkg.go.dev/github.com/jackc/pgx/v5/pgxpool#ParseConfig
PGX_PARAMETER: Final = re.compile(r"(?<![^?&\s])(pool_\w+|default_query_exec_mode|\w+_cache_capacity)=([^&\s]*)[&\s]?")


def parse_duration(text: str) -> timedelta:
    """The duration that Go's notation means (`300ms`, `1h30m`); a bare number means seconds.

    Raises ValueError for anything else, blanks and days among it.
    """
    if _SECONDS.fullmatch(text):
        text += "s"
    if _DURATION.fullmatch(text):
        with suppress(durationpy.DurationError):  # longer than a timedelta
            return durationpy.from_str(text)
    raise ValueError("must be a duration like 300ms, 2s, 5m or 1h30m")


def go_duration(duration: timedelta) -> str:
    """The duration as Go prints it: `5m0s`, `1.5s`, `300ms`."""
    if duration < timedelta(0):
        return f"-{go_duration(-duration)}"
    microseconds = Decimal(duration // timedelta(microseconds=1))
    if timedelta(0) < duration < timedelta(milliseconds=1):
        return f"{microseconds}\u00b5s"
    if timedelta(0) < duration < timedelta(seconds=1):
        return f"{microseconds / 1_000:f}ms"
    minutes, microseconds = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{microseconds / 1_000_000:f}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds


# The validators of the kinds of values. What they raise never repeats a value: it may be a secret.


def _parsed(parse: Callable[[str], object]) -> BeforeValidator:
    """Parse what comes as text; a value given in Python has its type already."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def duration_within(least: str, most: str) -> BeforeValidator:
    def parse(text: str) -> timedelta:
        duration = parse_duration(text)
        if not parse_duration(least) <= duration <= parse_duration(most):
            raise ValueError(f"must be a duration from {least} to {most}")
        return duration

    return _parsed(parse)


def _like(pattern: str, expected: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII | re.IGNORECASE):
            raise ValueError(f"must be {expected}")
        return text

    return check


def _items(text: str) -> list[str]:
    items = list(dict.fromkeys(item for part in text.split(",") if (item := part.strip())))
    if not items:  # nothing but commas is not unset, so it does not mean the default
        raise ValueError("must hold more than commas")
    return items


def _visible(secret: SecretStr) -> SecretStr:
    if not re.fullmatch("[!-~]+", secret.get_secret_value()):  # else no header can hold it
        raise ValueError("must be visible ASCII characters without blanks")
    return secret


def _web_url(text: str) -> str:
    """The URL without a slash at its end. It may be printed, so it must not hold a secret."""
    if not _WEB_URL.fullmatch(text) or urlsplit(text).port == 0:
        raise ValueError("must be an http or https URL without user, password, query and fragment")
    return text.rstrip("/")


def _base_url(url: str) -> str:
    """What a client of OpenAI's protocol appends its paths to."""
    return url.removesuffix("/chat/completions") if urlsplit(url).path else f"{url}/v1"


def _postgres_url(text: str) -> str:
    """The URL, or pairs of key and value, as libpq takes them."""
    if not _POSTGRES_URL.match(text):
        raise ValueError("must be a postgresql:// URL")
    return PGX_PARAMETER.sub("", text)


def _allowed_host(text: str) -> str | IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        if not _HOST.fullmatch(text):
            raise ValueError("must be hosts, *.domains and CIDRs, comma-separated") from None
        return text.lower()


Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Text = Annotated[str, Field(min_length=1)]  # pydantic looks for broken UTF-8 only under a limit
Name = Annotated[Text, Field(max_length=200)]
Host = Annotated[str, AfterValidator(_like(r"[\w.:%-]+", "a host name or an IP address"))]
Duration = Annotated[timedelta, duration_within("1ms", "876000h")]
Size = Annotated[
    ByteSize,
    Field(gt=0),
    _parsed(_like(r"\d+(\.\d+)? ?([kmgt]?i?b)?", "a size like 16 MiB, 64MiB or 1048576")),
]
Secret = Annotated[SecretStr, AfterValidator(_visible)]
WebUrl = Annotated[str, AfterValidator(_web_url)]
BaseUrl = Annotated[WebUrl, AfterValidator(_base_url)]
PostgresUrl = Annotated[Text, AfterValidator(_postgres_url)]
AllowedHost = Annotated[str | IPv4Network | IPv6Network, _parsed(_allowed_host)]
LogLevel = Annotated[Literal["debug", "info", "warn", "warning", "error"], _parsed(str.lower)]
TranscriptionProvider = Literal["whisperx", "qwen2-audio", "voxtral-small"]
_Item = TypeVar("_Item")
Listed = Annotated[tuple[_Item, ...], _parsed(_items)]
