"""Calls of a provider over HTTP: never twice, never elsewhere, with a bounded answer."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, TypeGuard

import aiohttp
from aiohttp.payload import AsyncIterablePayload

from workers.failures import Failure
from workers.providers.errors import MAX_ERROR, connection_failure, status_failure

MAX_ANSWER: Final = 16 * 1024 * 1024
CONNECT_SECONDS: Final = 10.0
_CHUNK: Final = 64 * 1024


class Refused(Failure):
    """The provider answered, and not with success: `status` is what it said."""

    def __init__(self, status: int, failure: Failure) -> None:
        super().__init__(failure.category, failure.message, usage=failure.usage, retry_after=failure.retry_after)
        self.status = status


class Unreached(Failure):
    """The provider cannot be connected to, so it has not seen anything of the call."""


@dataclass(frozen=True)
class Call:
    """A request. `body` makes what is sent, anew for each call; `service` is what the address should offer."""

    method: str
    url: str
    service: str = "transcriptions"
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], object] = lambda: None


class Upload(AsyncIterablePayload):
    """A part of a form that is read while it is sent, and whose size is known beforehand."""

    def __init__(self, chunks: AsyncIterator[bytes], size: int, content_type: str) -> None:
        super().__init__(chunks, content_type=content_type)
        self._size = size


class HttpClient:
    """Calls with one API key, open between `async with`. There is no limit on time: call it under a deadline."""

    _session: aiohttp.ClientSession

    def __init__(self, api_key: str | None) -> None:
        self._authorization = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # As with chat: a kept connection that closes just now would look like an outage.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            # No proxies and no ~/.netrc: nothing leaves for an address that nobody configured.
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "aiserv", "Accept": "application/json", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._session.close()

    async def answer(self, call: Call) -> bytes:
        """The body of a successful answer.

        Raises `Failure` for everything that the provider or the network did, `Refused` and `Unreached` among it.
        """
        try:
            async with self._session.request(
                call.method,
                call.url,
                params=call.params,
                headers={**self._authorization, **call.headers},
                data=call.body(),
                allow_redirects=False,
            ) as response:
                return await _body(response, call.service)
        except Failure:
            raise
        except Exception as error:
            raise _failure(error) from error


def fits_header(text: str | None) -> TypeGuard[str]:
    """Whether a header can carry the text."""
    return text is not None and text.isascii() and text.isprintable()


async def read_answer(chunks: AsyncIterator[bytes]) -> bytes:
    """All of an answer. Raises `Failure` with `invalid_response` for one that is too large."""
    body = await read_at_most(MAX_ANSWER + 1, chunks)
    if len(body) > MAX_ANSWER:
        raise Failure("invalid_response", f"the answer is larger than {MAX_ANSWER // 1024**2} MiB")
    return body


async def read_at_most(most: int, chunks: AsyncIterator[bytes]) -> bytes:
    """The first bytes, as many as there are."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) >= most:
            break
    return bytes(body[:most])


async def _body(response: aiohttp.ClientResponse, service: str) -> bytes:
    # Redirects are refused, too: that address is not the provider.
    if response.status >= HTTPStatus.MULTIPLE_CHOICES:
        said = await read_at_most(MAX_ERROR, response.content.iter_chunked(_CHUNK))
        raise Refused(response.status, status_failure(response.status, response.headers, said, service=service))
    return await read_answer(response.content.iter_chunked(_CHUNK))


def _failure(error: Exception) -> BaseException:
    cause: BaseException | None = error
    while cause is not None:
        # What went wrong with the body while it was sent.
        if isinstance(cause, Failure):
            return cause
        cause = cause.__cause__
    failure = connection_failure(error)
    if failure is None:
        return error
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Unreached(failure.category, failure.message)
    return failure
