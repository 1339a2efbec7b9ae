"""Providers for tests: a small OpenAI-compatible server that answers as the test says."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
from aiohttp import web
from pydantic import JsonValue

Reply: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}


@dataclass(frozen=True)
class Answer:
    """What the provider does with a call; `reads` says whether it reads the request's body."""

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
class FakeProvider:
    """A provider whose next answers are set by `answers`, and that remembers what it was asked."""

    base_url: str = ""
    requests: list[Received] = field(default_factory=list)
    in_progress: int = 0
    """Calls that came and are not answered yet."""

    def __post_init__(self) -> None:
        self._answers: list[Answer] = [content("Hello.")]
        self._changed = anyio.Event()
        self._disconnects = 0

    @property
    def last(self) -> Received:
        """The latest request."""
        return self.requests[-1]

    def answers(self, *answers: Answer) -> None:
        """Give the next calls these answers, one each; the last one stays."""
        self._answers = list(answers)

    async def called(self, times: int = 1) -> None:
        """Wait until so many calls have come since the start."""
        await self._until(lambda: len(self.requests) >= times)

    async def disconnected(self, times: int = 1) -> None:
        """Wait until so many clients have left before their answer was complete."""
        await self._until(lambda: self._disconnects >= times)

    async def idle(self) -> None:
        """Wait until no call is in progress."""
        await self._until(lambda: self.in_progress == 0)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Record the request and give the next answer."""
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        self.in_progress += 1
        try:
            asked = await _json(request) if answer.reads else None
            self.requests.append(_received(request, asked))
            self._notify()
            return await answer.reply(request)
        except (anyio.get_cancelled_exc_class(), ConnectionError):
            self._disconnects += 1
            raise
        finally:
            self.in_progress -= 1
            self._notify()

    async def _until(self, is_true: Callable[[], bool]) -> None:
        while not is_true():
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def fake_provider(port: int = 0) -> AsyncIterator[FakeProvider]:
    """A provider that listens at `base_url`, and says "Hello." until told otherwise."""
    provider = FakeProvider()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", provider.handle)
    # Handlers are cancelled when their client leaves: that is how `disconnected` knows.
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        provider.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield provider
    finally:
        await runner.cleanup()


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
