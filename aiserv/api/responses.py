"""What handlers answer with: JSON that PostgreSQL has rendered already."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

from aiserv.api.preconditions import has_version
from aiserv.queries.base import ShownJob
from aiserv.queries.jobs import CreatedJob

JSON_HEADERS: Final[dict[str, str]] = {
    hdrs.CONTENT_TYPE: "application/json; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-store",
}


def json_response(body: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer whose body is JSON text; nobody else's cache may keep it."""
    return WholeResponse(body=body.encode(), status=status, headers={**JSON_HEADERS, **(headers or {})})


def job_response(
    shown: ShownJob | CreatedJob, *, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A job, and its version as ETag."""
    return json_response(shown.text, status=status, headers={"ETag": f'"{shown.version}"', **(headers or {})})


def versioned(request: web.Request, text: str, version: str, headers: dict[str, str]) -> web.Response:
    """The text, or 304 to a client that has this version already."""
    tagged = {"ETag": f'"{version}"', **headers}
    if has_version(request, version):
        return web.Response(status=304, headers={"Cache-Control": "no-store", **tagged})
    return json_response(text, headers=tagged)


class WholeResponse(web.Response):
    """An answer whose body is there in full: its head is made in one step, and both are written in another.

    aiohttp takes nine, asking for cookies, chunks, signals and more: a fifteenth of a create. It still writes what is
    rare: what is compressed, answers to HEAD and to HTTP/1.0, and the last one on a connection.
    """

    # What is left to do after a head that was made here.
    _write_body: Callable[[], Awaitable[None]] | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Make the head."""
        if self.prepared:
            return self._payload_writer
        body = self._body
        if (
            not isinstance(body, bytes)
            or self._compression
            or self._keep_alive is False
            or not request.keep_alive
            or request.version != HttpVersion11
            or request.method == hdrs.METH_HEAD
        ):
            return await super().prepare(request)
        headers = self._headers
        headers[hdrs.CONTENT_LENGTH] = str(len(body))
        headers[hdrs.DATE] = rfc822_formatted_time()
        headers[hdrs.SERVER] = SERVER_SOFTWARE
        self._keep_alive = True
        writer = self._payload_writer = request.writer
        self._write_body = partial(writer.write_eof, body)
        await writer.write_headers(f"HTTP/1.1 {self._status} {self._reason}", headers)
        return writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the head and the body."""
        if self._write_body is None:
            await super().write_eof(data)
        elif not self._eof_sent and self._payload_writer is not None:
            await self._write_body()
            # As aiohttp leaves an answer that is written.
            self._eof_sent = True
            self._body_length = self._payload_writer.output_size
            self._payload_writer = None


class HandedOver(WholeResponse):
    """JSON that hands something over: `take_back` runs if the client is gone before it is written."""

    def __init__(self, body: str, take_back: Callable[[], Awaitable[None]]) -> None:
        super().__init__(body=body.encode(), headers=JSON_HEADERS)
        self._take_back = take_back

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the head."""
        try:
            return await super().prepare(request)
        except ConnectionError:
            await self._take_back()
            raise

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the body."""
        try:
            await super().write_eof(data)
        except ConnectionError:
            await self._take_back()
            raise
