"""What handlers answer with: JSON that PostgreSQL has rendered already."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from aiserv.api.preconditions import has_version
from aiserv.queries.base import ShownJob
from aiserv.queries.jobs import CreatedJob

JSON_HEADERS: Final = {"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store"}


def json_response(body: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer whose body is JSON text; nobody else's cache may keep it."""
    return web.Response(body=body.encode(), status=status, headers={**JSON_HEADERS, **(headers or {})})


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


class HandedOver(web.Response):
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
