"""Servers for tests that answer as the test says, among them a small OpenAI-compatible provider."""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeAlias

import anyio
from aiohttp import web
from pydantic import JsonValue

Reply: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


@dataclass(frozen=True)
class Answer:
    """What a server does with a call; `reads` says whether it reads the request's body."""

    reply: Reply
    reads: bool = True


@dataclass(frozen=True)
class Received:
    """A request as the provider got it; `json` is None where the body was not read or is none."""

    method: str
    path: str
    headers: Mapping[str, str]
    json: JsonValue
    peer: tuple[str, int]


@dataclass
class FakeServer(ABC):
    """A server at `url` that counts calls in progress, open connections, and clients that left early."""

    url: str = field(default="", kw_only=True)
    in_progress: int = field(default=0, kw_only=True)
    """Calls that came and are not answered yet."""
    most_at_once: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        self._changed = anyio.Event()
        self._disconnects = 0
        app = web.Application(client_max_size=1024**3)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Handlers are cancelled when their client leaves: that is how `disconnected` knows.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)

    @abstractmethod
    async def reply(self, request: web.Request) -> web.StreamResponse:
        """Remember what was asked, `notify`, and answer."""

    @property
    def connections(self) -> int:
        """How many sockets are open."""
        return len(self._runner.server.connections) if self._runner.server else 0

    @asynccontextmanager
    async def listening(self, port: int = 0, *, unix: Path | None = None) -> AsyncIterator[Self]:
        """The server, while it listens on a port or on a unix socket."""
        await self._runner.setup()
        try:
            if unix:
                await web.UnixSite(self._runner, str(unix)).start()
            else:
                await web.TCPSite(self._runner, "127.0.0.1", port).start()
                self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
            yield self
        finally:
            await self._runner.cleanup()

    async def disconnected(self, times: int = 1) -> None:
        """Wait until so many clients have left before their answer was complete."""
        await self.until(lambda: self._disconnects >= times)

    async def idle(self) -> None:
        """Wait until no call is in progress."""
        await self.until(lambda: self.in_progress == 0)

    async def until(self, is_true: Callable[[], bool]) -> None:
        """Wait until something is true that `notify` tells of."""
        while not is_true():
            await self._changed.wait()

    def notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.in_progress += 1
        self.most_at_once = max(self.most_at_once, self.in_progress)
        try:
            return await self.reply(request)
        except (anyio.get_cancelled_exc_class(), ConnectionError):
            self._disconnects += 1
            raise
        finally:
            self.in_progress -= 1
            self.notify()


@dataclass
class FakeProvider(FakeServer):
    """A provider whose next answers are set by `answers`, and that remembers what it was asked."""

    requests: list[Received] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._answers: list[Answer] = [content("Hello.")]

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def last(self) -> Received:
        """The latest request."""
        return self.requests[-1]

    def answers(self, *answers: Answer) -> None:
        """Give the next calls these answers, one each; the last one stays."""
        self._answers = list(answers)

    async def called(self, times: int = 1) -> None:
        """Wait until so many calls have come since the start."""
        await self.until(lambda: len(self.requests) >= times)

    async def reply(self, request: web.Request) -> web.StreamResponse:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        asked = await _json(request) if answer.reads else None
        self.requests.append(_received(request, asked))
        self.notify()
        return await answer.reply(request)


@asynccontextmanager
async def fake_provider(port: int = 0) -> AsyncIterator[FakeProvider]:
    """A provider that listens at `base_url`, and says "Hello." until told otherwise."""
    async with FakeProvider().listening(port) as provider:
        yield provider


def content(
    text: JsonValue,
    *,
    finish_reason: str | None = "stop",
    usage: Mapping[str, JsonValue] | None = USAGE,
    **message: JsonValue,
) -> Answer:
    """A chat completion with this content; `message` adds fields beside it."""
    completion = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "served-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish_reason,
            }
        ],
        "usage": usage,
    }
    return body(json.dumps(completion))


def body(
    text: str | bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """An answer with exactly this body."""
    raw = text.encode() if isinstance(text, str) else text

    async def reply(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=raw, headers={"Content-Type": content_type, **(headers or {})})

    return Answer(reply)


def refuses(status: int, said: JsonValue = None, *, headers: Mapping[str, str] | None = None) -> Answer:
    """An error with this JSON body, or `{"error": {"message": said}}` for a text."""
    error = {"error": {"message": said}} if isinstance(said, str) else said
    return body(json.dumps(error), status=status, headers=headers)


def hangs() -> Answer:
    """No answer at all, for as long as the client waits."""
    return Answer(_hang)


def never_reads() -> Answer:
    """No answer, and not even the body of the request is read."""
    return Answer(_hang, reads=False)


def trickles(interval: float = 0.05, *, status: int = 200) -> Answer:
    """An answer whose body comes byte by byte, without end."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await anyio.sleep(interval)

    return Answer(reply)


def drops(after: bytes = b"") -> Answer:
    """A connection that ends without an answer, or in the middle of one."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        if after:
            await response.prepare(request)
            await response.write(after)
        assert request.transport is not None
        request.transport.abort()
        return response

    return Answer(reply)


def _received(request: web.Request, asked: JsonValue) -> Received:
    assert request.transport is not None
    peer = request.transport.get_extra_info("peername")
    return Received(request.method, request.path, request.headers, asked, peer)


async def _json(request: web.Request) -> JsonValue:
    text = await request.text()
    try:
        parsed: JsonValue = json.loads(text)
    except ValueError:
        return None
    return parsed


async def _hang(_request: web.Request) -> web.StreamResponse:
    await anyio.sleep_forever()
    raise AssertionError
