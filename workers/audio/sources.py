"""Where a recording comes from: a URL that is fetched, or the job's input itself. Either way it lands in a file."""

import base64
import binascii
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

import aiohttp
import anyio
from anyio import to_thread
from pydantic import JsonValue
from yarl import URL

from workers.audio.addresses import AllowedHosts
from workers.failures import Failure

MIB: Final = 1024 * 1024
MAX_REDIRECTS: Final = 5
CONNECT_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 60.0  # without a byte

_CHUNK: Final = 256 * 1024
_REDIRECTS: Final = (301, 302, 303, 307, 308)
_KIND: Final = re.compile(r"[a-z0-9]{1,8}")
# What has no header of its own is told by what it is called.
_KINDS: Final = {
    "audio/pcma": "alaw",
    "audio/x-alaw-basic": "alaw",
    "audio/pcmu": "ulaw",
    "audio/basic": "ulaw",
    "audio/g722": "g722",
}


@dataclass(frozen=True)
class Source:
    """What `input` says about its recording: a URL, or the bytes in base64, and perhaps what kind they are."""

    url: str | None
    encoded: str | None
    kind: str

    @classmethod
    def parse(cls, job_input: Mapping[str, JsonValue]) -> "Source":
        """Read `audio_url` or `audio_base64`, `filename`, `content_type`. Raises `Failure` with `invalid_input`."""
        texts: dict[str, str | None] = {}
        for name in ("audio_url", "audio_base64", "filename", "content_type"):
            value = job_input.get(name)
            if value is not None and not isinstance(value, str):
                raise Failure("invalid_input", f"input.{name}: must be a string")
            texts[name] = value or None
        url, encoded = texts["audio_url"], texts["audio_base64"]
        if (url is None) == (encoded is None):
            raise Failure("invalid_input", "input: needs either audio_url or audio_base64")
        if url is not None and not re.match(r"(https?|data):", url, re.IGNORECASE):
            raise Failure("invalid_input", "input.audio_url: must be an http, https or data URL")
        return cls(url, encoded, _kind(texts["filename"], texts["content_type"]))


@dataclass(frozen=True)
class Limits:
    """How large a recording may be, in bytes, and from where it may come."""

    max_bytes: int = 256 * MIB
    hosts: AllowedHosts = AllowedHosts()  # noqa: RUF009 - it is frozen


@asynccontextmanager
async def stored(source: Source, limits: Limits) -> AsyncIterator[tuple[Path, str]]:
    """The recording as a file for the time of the context, and its kind (a file extension, or nothing).

    Raises `Failure`: `audio_unavailable` when it cannot be fetched, `unsupported_audio` when it is too large,
    `invalid_input`. There is no limit on time but for silence: call it under a deadline.
    """
    folder = await to_thread.run_sync(lambda: TemporaryDirectory(prefix="aiserv-", ignore_cleanup_errors=True))
    try:
        path = Path(folder.name) / "recording"
        kind = source.kind
        if source.encoded is not None:
            await _store(path, source.encoded, limits, "input.audio_base64")
        elif source.url is not None and source.url[:5].lower() == "data:":
            kind = await _store_data_url(path, source.url, limits) or kind
        else:
            assert source.url is not None  # noqa: S101 - one of both is there
            kind = await _fetch(path, source.url, limits) or kind
        yield path, kind
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(folder.cleanup)


async def _store(path: Path, text: str, limits: Limits, name: str) -> None:
    def decode() -> None:
        if len(text) // 4 * 3 > limits.max_bytes + 1024:
            raise _too_large(limits)
        compact = re.sub(r"\s+", "", text).rstrip("=")
        try:
            compact = compact.translate({ord("-"): "+", ord("_"): "/"})
            audio = base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise Failure("invalid_input", f"{name}: is not base64") from None
        _write(path, audio, limits)

    await to_thread.run_sync(decode)


async def _store_data_url(path: Path, url: str, limits: Limits) -> str:
    # RFC 2397: data:[<mediatype>][;base64],<data>
    head, comma, data = url[5:].partition(",")
    if not comma:
        raise Failure("invalid_input", "input.audio_url: the data URL has no comma")
    content_type, *parameters = head.split(";")
    if any(parameter.strip().lower() == "base64" for parameter in parameters):
        await _store(path, unquote(data), limits, "input.audio_url")
    else:
        await to_thread.run_sync(lambda: _write(path, unquote_to_bytes(data), limits))
    return _kind(None, content_type)


def _write(path: Path, audio: bytes, limits: Limits) -> None:
    if len(audio) > limits.max_bytes:
        raise _too_large(limits)
    path.write_bytes(audio)


async def _fetch(path: Path, text: str, limits: Limits) -> str:
    try:
        url = URL(text)
        for _ in range(MAX_REDIRECTS + 1):
            if url.scheme not in ("http", "https") or not url.host:
                raise _unavailable("it leads to an address that is neither http nor https")
            async with _get(url, limits) as response:
                location = response.headers.get("Location")
                if response.status in _REDIRECTS and location:
                    url = _joined(url, location)
                    continue
                await _receive(path, response, limits)
                return _kind(url.path, response.content_type)
    except ValueError:
        raise Failure("invalid_input", "input.audio_url: is no URL") from None
    except aiohttp.ClientPayloadError:
        raise _unavailable("the connection ended in the middle of it") from None
    except TimeoutError:
        raise _unavailable("its server does not answer") from None
    except (aiohttp.ClientError, OSError) as error:
        # Without its message, which may hold what the URL does.
        raise _unavailable(f"its server cannot be reached: {type(error).__name__}") from None
    raise _unavailable("it is redirected without end")


def _joined(url: URL, location: str) -> URL:
    try:
        return url.join(URL(location))
    except ValueError:
        raise _unavailable("it is redirected to what is no URL") from None


@asynccontextmanager
async def _get(url: URL, limits: Limits) -> AsyncIterator[aiohttp.ClientResponse]:
    host, refused = url.host or "", []

    def open_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        # Here, for what a name meant a moment ago proves nothing: this address is connected to.
        family, kind, protocol, _, peer = address
        if not limits.hosts.admits(host, str(peer[0])):
            refused.append(peer)
            raise OSError("not an address to fetch from")
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(socket_factory=open_socket, force_close=True, use_dns_cache=False)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENT_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "aiserv", "Accept-Encoding": "identity"},
    ) as session:
        try:
            response = await session.get(url, allow_redirects=False)
        except (aiohttp.ClientError, OSError):
            if refused:
                raise _unavailable(f"the host {host} is not one to fetch from") from None
            raise
        async with response:
            yield response


async def _receive(path: Path, response: aiohttp.ClientResponse, limits: Limits) -> None:
    if response.status != HTTPStatus.OK:
        raise _unavailable(f"its server answered {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _unavailable("its server compressed it, unasked")
    if response.content_length is not None and response.content_length > limits.max_bytes:
        raise _too_large(limits)
    received = 0
    async with await anyio.open_file(path, "wb") as file:
        async for chunk in response.content.iter_chunked(_CHUNK):
            received += len(chunk)
            if received > limits.max_bytes:
                raise _too_large(limits)
            await file.write(chunk)
    if not received:
        raise _unavailable("its server sent nothing")


def _kind(filename: str | None, content_type: str | None) -> str:
    if filename and _KIND.fullmatch(extension := PurePosixPath(filename).suffix[1:].lower()):
        return extension
    return _KINDS.get((content_type or "").partition(";")[0].strip().lower(), "")


def _unavailable(why: str) -> Failure:
    return Failure("audio_unavailable", f"the recording cannot be fetched: {why}")


def _too_large(limits: Limits) -> Failure:
    return Failure("unsupported_audio", f"the recording is larger than {limits.max_bytes:,} bytes")
