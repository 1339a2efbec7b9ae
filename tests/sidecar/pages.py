"""Servers for tests that answer by path, on a port or on a unix socket."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.providers import Answer, FakeServer, refuses


@dataclass
class PageServer(FakeServer):
    """A server whose answers at a path may change at any time, and that remembers what it was asked."""

    pages: dict[str, Answer]
    asked: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    async def reply(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        self.headers.append(request.headers)
        return await self.pages.get(request.path, refuses(404, {"detail": "Not Found"})).reply(request)


@asynccontextmanager
async def fake_server(pages: Mapping[str, Answer], *, unix: Path | None = None) -> AsyncIterator[PageServer]:
    """A server that has these pages, and 404 for all other paths."""
    async with PageServer(dict(pages)).listening(unix=unix) as server:
        yield server


@asynccontextmanager
async def http_client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that keeps no connection."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        yield http


@asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    """The URL of a port that nobody listens at, and nobody else gets."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
