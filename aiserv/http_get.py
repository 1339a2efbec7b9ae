"""A GET of another process's status: bounded in time and size, and its failures in words that may be shown."""

import json
import os
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
import anyio
from pydantic import JsonValue

MAX_BYTES: Final = 4 * 1024 * 1024
UNAUTHORIZED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

# What people write behind the address of a server, and where its API alone is.
_API_PATHS: Final = (
    "/v1/audio/transcriptions",
    "/audio/transcriptions",
    "/v1/chat/completions",
    "/v1",
    "/speech-to-text",
    "/asr",
)


class Unreachable(Exception):  # noqa: N818 - what the other side is
    """There was no whole answer. The message says why, without any secret; `timed_out` whether it was time."""

    def __init__(self, reason: str, *, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.timed_out = timed_out


@dataclass(frozen=True)
class Got:
    """An answer of whatever status."""

    status: int
    body: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def json(self) -> JsonValue:
        """The body as JSON, NaN and infinity as None; None if it is no JSON."""
        try:
            parsed: JsonValue = json.loads(self.body, parse_constant=lambda _name: None)
        except (ValueError, RecursionError):
            return None
        return parsed


def shown(text: str, at_most: int) -> str:
    """A text of the other side's, so that it can be answered: no NUL, no half characters, not too long."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()[:at_most]


def server_root(url: str) -> str:
    """Where `/health`, `/metrics` and the like are: the URL without the path of an API."""
    for path in _API_PATHS:
        if url.endswith(path):
            return url.removesuffix(path)
    return url


async def get(http: aiohttp.ClientSession, url: str, *, token: str | None = None, seconds: float) -> Got:
    """The answer within so many seconds. Redirects are not followed: a token is for one address only.

    Raises Unreachable when there was none, or one that is too large.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    started = time.monotonic()
    try:
        with anyio.fail_after(seconds):
            async with http.get(url, headers=headers, allow_redirects=False) as response:
                body = await _read(response)
    except TimeoutError:
        raise Unreachable(f"no answer within {seconds:g} s", timed_out=True) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(_reason(error)) from error
    return Got(response.status, body, time.monotonic() - started)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Unreachable(f"the answer is larger than {MAX_BYTES // 1024**2} MiB")
    return bytes(body)


def _reason(error: Exception) -> str:
    """What happened, in our words: those of the error may repeat an address or what the other side said."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its name cannot be resolved"
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError():
            return "TLS fails with it"
        case aiohttp.ClientConnectorError(errno=int(number)) if number:
            return os.strerror(number).lower()
        case aiohttp.ClientConnectorError():
            return "it cannot be connected to"
        case aiohttp.InvalidURL():
            return "its URL is not valid"
        case _:
            return "the connection broke off"
