"""Providers of transcriptions for tests: they hear the words of `recordings`, and have the limits of the real ones."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from aiohttp import BodyPartReader, web
from pydantic import JsonValue

from tests.providers import Answer, FakeServer
from tests.workers.audio.recordings import Word, heard_in, seconds_of, shape_of, utterances_in

MAX_FILE = 25 * 1024 * 1024  # VLLM_MAX_AUDIO_CLIP_FILESIZE_MB
MAX_SECONDS = 600  # VLLM_MAX_AUDIO_DECODE_DURATION_S


@dataclass(frozen=True)
class Asked:
    """A request that a provider got: `options` are those of its query, its form, or its JSON."""

    method: str
    path: str
    headers: Mapping[str, str]
    options: Mapping[str, object]
    audio: bytes = b""
    filename: str | None = None

    @property
    def seconds(self) -> float:
        """The length of the recording that came with it."""
        return seconds_of(self.audio)


Handler: TypeAlias = Callable[[Asked], Awaitable[web.Response]]


@dataclass
class AudioProvider(FakeServer):
    """A server that remembers what it was asked, and answers by route; `instead` is what it does in place of it."""

    routes: Mapping[tuple[str, str], Handler]
    asked: list[Asked] = field(default_factory=list)
    instead: Answer | None = None
    """For requests that bring a recording."""

    @property
    def heard(self) -> list[Asked]:
        """The requests that brought a recording."""
        return [asked for asked in self.asked if asked.audio]

    async def called(self, times: int = 1) -> None:
        """Wait until so many recordings have come."""
        await self.until(lambda: len(self.heard) >= times)

    async def reply(self, request: web.Request) -> web.StreamResponse:
        asked = await _asked(request)
        self.asked.append(asked)
        self.notify()
        if self.instead is not None and asked.audio:
            return await self.instead.reply(request)
        handler = self.routes.get((asked.method, asked.path))
        if handler is None:
            exists = any(path == asked.path for _, path in self.routes)
            return _json({"detail": "Method Not Allowed" if exists else "Not Found"}, status=405 if exists else 404)
        return await handler(asked)


@asynccontextmanager
async def serving(routes: Mapping[tuple[str, str], Handler], *, described: bool = True) -> AsyncIterator[AudioProvider]:
    """A provider with these routes; `described` says whether it has an /openapi.json, as FastAPI does."""
    paths: dict[str, JsonValue] = {path.replace("t-1", "{identifier}"): {} for _, path in routes}

    async def openapi(_asked: Asked) -> web.Response:
        return _json({"openapi": "3.1.0", "paths": paths})

    provider = AudioProvider({**routes, ("GET", "/openapi.json"): openapi} if described else routes)
    async with provider.listening():
        yield provider


Says: TypeAlias = Callable[[list[Word]], str]


def words_as_text(words: list[Word]) -> str:
    return " ".join(word.text for word in words)


def qwen2_audio(says: Says = words_as_text, *, finish_reason: str = "stop") -> dict[tuple[str, str], Handler]:
    """vLLM with Qwen2-Audio: it hears 30 seconds, and does not say that there was more."""

    async def chat(asked: Asked) -> web.Response:
        if refusal := _refused_by_vllm(asked.audio):
            return refusal
        return _completion(says(heard_in(asked.audio, only_seconds=30)), finish_reason)

    return {("POST", "/v1/chat/completions"): chat}


def voxtral(says: Says = words_as_text) -> dict[tuple[str, str], Handler]:
    """vLLM with Voxtral: no stereo in chat, no verbose_json in transcriptions."""

    async def chat(asked: Asked) -> web.Response:
        if refusal := _refused_by_vllm(asked.audio):
            return refusal
        if shape_of(asked.audio)[0] > 1:
            return _error(400, "audio_array.ndim=2")
        return _completion(says(heard_in(asked.audio)))

    async def transcriptions(asked: Asked) -> web.Response:
        if refusal := _refused_by_vllm(asked.audio):
            return refusal
        if asked.options.get("response_format") == "verbose_json":
            return _error(400, "Currently do not support verbose_json for mistralai/Voxtral")
        text = says(heard_in(asked.audio))
        return _json({"text": text, "usage": {"type": "duration", "seconds": round(asked.seconds)}})

    return {("POST", "/v1/chat/completions"): chat, ("POST", "/v1/audio/transcriptions"): transcriptions}


def segments_of(asked: Asked, *, speakers: bool = False) -> list[dict[str, JsonValue]]:
    """The words heard as whisperx gives them, in segments that end at a pause."""
    segments: list[dict[str, JsonValue]] = []
    for at, group in enumerate(utterances_in(asked.audio)):
        segment: dict[str, JsonValue] = {
            "start": group[0].start,
            "end": round(group[-1].start + 0.4, 2),
            "text": " " + words_as_text(group),
        }
        if speakers:
            segment["speaker"] = f"SPEAKER_{at % 2:02d}"
        segments.append(segment)
    return segments


def asr(answer: Callable[[Asked], JsonValue] | None = None) -> dict[tuple[str, str], Handler]:
    """ahmetoner/whisper-asr-webservice with the whisperx engine: JSON as text/plain, and only when asked for."""

    async def transcribe(asked: Asked) -> web.Response:
        if asked.options.get("output") != "json":
            return web.Response(text="only text")
        speakers = asked.options.get("diarize") == "true"
        plain: JsonValue = {
            "segments": [*segments_of(asked, speakers=speakers)],
            "word_segments": [],
            "language": str(asked.options.get("language") or "ru"),
        }
        return web.Response(text=json.dumps(answer(asked) if answer else plain), content_type="text/plain")

    return {("POST", "/asr"): transcribe}


def whisper_openai(
    answer: Callable[[Asked], JsonValue] | None = None, *, limits: bool = False, verbose: bool = True
) -> dict[tuple[str, str], Handler]:
    """A server with OpenAI's route; `limits` are those of vLLM."""

    async def transcribe(asked: Asked) -> web.Response:
        if limits and (refusal := _refused_by_vllm(asked.audio)):
            return refusal
        if asked.options.get("response_format") == "verbose_json" and not verbose:
            return _error(400, "Currently do not support verbose_json for this model")
        if asked.options.get("response_format") != "verbose_json":
            return _json({"text": words_as_text(heard_in(asked.audio))})
        speakers = asked.options.get("diarize") == "true"
        # Nyralei's: the segments lie one deeper.
        deep: JsonValue = {"segments": [*segments_of(asked, speakers=speakers)], "word_segments": []}
        return _json(answer(asked) if answer else {"text": "…", "language": "ru", "segments": deep})

    async def models(_asked: Asked) -> web.Response:
        return _json({"object": "list", "data": [{"id": "served-whisper"}]})

    return {("POST", "/v1/audio/transcriptions"): transcribe, ("GET", "/v1/models"): models}


def tasks(*, polls: int = 2, error: str | None = None) -> dict[tuple[str, str], Handler]:
    """pavelzbornik/whisperX-FastAPI: English and "tiny" unless told otherwise, and an answer to be asked for."""
    asked_for: list[Asked] = []
    polled = 0

    async def create(asked: Asked) -> web.Response:
        if not (asked.filename or "").endswith(".wav"):
            return _json({"detail": "Invalid file extension"}, status=400)
        asked_for.append(asked)
        return _json({"identifier": "t-1", "message": "Task queued"})

    async def task(_asked: Asked) -> web.Response:
        nonlocal polled
        polled += 1
        if polled < polls:
            return _json({"status": "processing", "result": None, "metadata": {}, "error": None})
        if error:
            return _json({"status": "failed", "result": None, "metadata": {}, "error": error})
        language = str(asked_for[-1].options.get("language", "en"))
        result: JsonValue = {"segments": [*segments_of(asked_for[-1], speakers=True)], "word_segments": []}
        return _json({"status": "completed", "result": result, "metadata": {"language": language}, "error": None})

    return {("POST", "/speech-to-text"): create, ("GET", "/task/t-1"): task}


async def _asked(request: web.Request) -> Asked:
    options: dict[str, object] = dict(request.query)
    audio, filename = b"", None
    if request.content_type == "multipart/form-data":
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.filename:
                options["file_field"] = part.name
                filename, audio = part.filename, bytes(await part.read())
            else:
                options[part.name or ""] = (await part.read()).decode()
    elif request.content_type == "application/json":
        body = await request.json()
        options |= body
        (url,) = [part["audio_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "audio_url"]
        head, _, encoded = url.partition(",")
        assert head.startswith("data:")
        assert head.endswith(";base64")
        audio = base64.b64decode(encoded, validate=True)
    return Asked(request.method, request.path, request.headers, options, audio, filename)


def _refused_by_vllm(audio: bytes) -> web.Response | None:
    if len(audio) > MAX_FILE:
        return _error(400, "Maximum file size exceeded", param="audio_filesize_mb")
    if shape_of(audio)[1] != 16_000:
        return _error(500, "No module named 'torchaudio'")
    seconds = seconds_of(audio)
    if seconds > MAX_SECONDS:
        return _error(400, f"Audio duration {seconds}s exceeds maximum allowed duration of {MAX_SECONDS}s")
    return None


def _completion(text: str, finish_reason: str = "stop") -> web.Response:
    choice: JsonValue = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage: JsonValue = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return _json({"id": "c", "object": "chat.completion", "model": "served", "choices": [choice], "usage": usage})


def _error(status: int, message: str, *, param: str | None = None) -> web.Response:
    return _json(
        {"error": {"message": message, "type": "BadRequestError", "param": param, "code": status}}, status=status
    )


def _json(body: JsonValue, *, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body), status=status, content_type="application/json")
