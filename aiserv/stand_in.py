"""The stand-in provider of `aiserv dev`: it speaks OpenAI's protocol and says it is no model."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final
from uuid import uuid4

from aiohttp import web
from pydantic import JsonValue

from aiserv.stand_in_json import fitting

NAME: Final = "stand-in provider, no model"
MAX_ECHO: Final = 500
MAX_BODY: Final = 64 * 1024 * 1024

_MODEL: Final = web.AppKey("model", str)
_routes: Final = web.RouteTableDef()


@asynccontextmanager
async def stand_in_provider(model: str, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve chat completions for `model`, by no model; gives the base URL, `http://…/v1`.

    Answers repeat the caller's last words, as JSON if `response_format` asks for it, which fits its schema if
    that is simple. Their usage counts words, not tokens. It does not stream.
    """
    app = web.Application(middlewares=[_refusals_as_json], client_max_size=MAX_BODY)
    app[_MODEL] = model
    app.add_routes(_routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


class _Refusal(Exception):  # noqa: N818 - the word for it everywhere else
    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


@_routes.get("/v1/models")
async def _models(request: web.Request) -> web.Response:
    model = {"id": request.app[_MODEL], "object": "model", "created": 0, "owned_by": NAME}
    return web.json_response({"object": "list", "data": [model]})


@_routes.post("/v1/chat/completions")
async def _chat_completions(request: web.Request) -> web.Response:
    model, messages, wanted = _parse(await request.read())
    if model != request.app[_MODEL]:
        raise _Refusal(404, f"The model `{model}` does not exist.", "model")
    said = _last_words(messages)
    content = _content(f"[{NAME}] You said: {said}", said, wanted)
    message = {"role": "assistant", "content": content}
    completion = {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": f"{model} ({NAME})",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(messages, content),
    }
    return web.json_response(completion)


def _content(text: str, said: str, wanted: JsonValue) -> str:
    """What to say in the format that is wanted."""
    match wanted:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return json.dumps(fitting(schema, text))
        case {"type": "json_object" | "json_schema"}:
            return json.dumps({"stand_in": True, "note": NAME, "you_said": said})
        case _:
            return text


def _parse(body: bytes) -> tuple[str, list[JsonValue], JsonValue]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise _Refusal(400, "the body is no JSON") from None
    match asked:
        case {"stream": True}:
            raise _Refusal(400, f"the {NAME}, does not stream", "stream")
        case {"model": str(model), "messages": [_, *_] as messages}:
            return model, messages, asked.get("response_format")
        case _:
            raise _Refusal(400, "model (a string) and messages (a list) are required")


def _last_words(messages: list[JsonValue]) -> str:
    match messages[-1]:
        case {"content": str(content)}:
            words = content
        case {"content": list(parts)}:
            texts = [part.get("text") for part in parts if isinstance(part, dict)]
            words = " ".join(text for text in texts if isinstance(text, str))
        case _:
            words = ""
    return words if len(words) <= MAX_ECHO else f"{words[:MAX_ECHO]}…"


def _usage(messages: list[JsonValue], content: str) -> dict[str, int]:
    read, written = len(json.dumps(messages).split()), len(content.split())
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
    }


@web.middleware
async def _refusals_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except _Refusal as refusal:
        return _refused(refusal.status, str(refusal), refusal.param)
    except web.HTTPException as error:
        return _refused(error.status, error.reason)


def _refused(status: int, message: str, param: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return web.json_response({"error": error}, status=status)
