"""One WhisperX server: which dialect it speaks, and how it is asked."""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias

import aiohttp
import anyio

from aiserv.http_get import server_root
from workers.failures import Failure
from workers.providers.answers import parsed_object
from workers.providers.http import Call, HttpClient, Refused
from workers.providers.pieces import Wanted
from workers.providers.transcript import Transcript, parse_transcript, transcript_in
from workers.providers.whisperx_dialects import (
    FILE_FIELDS,
    ROUTES,
    Dialect,
    dialect_described,
    dialect_in,
    fields,
    parameters,
    task_url,
)

POLL_SECONDS: Final = 1.0

# Opens what is uploaded, anew for each call: a stream cannot be sent twice.
Audio: TypeAlias = Callable[[], AbstractAsyncContextManager[object]]

_NO_SUCH_ROUTE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_NO_DESCRIPTION: Final = (*_NO_SUCH_ROUTE, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class Server:
    """A server at a URL, whose dialect is found out with the first call if it is not said."""

    def __init__(self, client: HttpClient, url: str, dialect: Dialect | None, model: str | None) -> None:
        self.url = url
        self._client = client
        self._root = server_root(url)
        self._said = dialect or dialect_in(url)
        self._dialect = self._said
        self._model = model
        self._asked_for_model = False
        self._response_format = "verbose_json"
        self._finding_out = anyio.Lock()

    async def transcribe(self, audio: Audio, seconds: float, wanted: Wanted) -> Transcript:
        """What is said in a WAV file of this length. Raises `Failure`."""
        async with self._finding_out:
            dialect = self._dialect or await self._find_dialect(wanted)
            if dialect == "openai" and self._model is None and not self._asked_for_model:
                self._asked_for_model = True
                self._model = await self._find_model(wanted)
        try:
            heard = await self._transcribe(dialect, audio, seconds, wanted)
        except Refused as refused:
            if refused.status in _NO_SUCH_ROUTE:
                # Somebody else may live there now: look again the next time.
                self._dialect = self._said
            raise
        self._dialect = dialect
        return replace(heard, language=heard.language or wanted.language, model=heard.model or self._model)

    async def _transcribe(self, dialect: Dialect, audio: Audio, seconds: float, wanted: Wanted) -> Transcript:
        if dialect == "tasks":
            return await self._task(audio, seconds, wanted)
        try:
            body = await self._send(dialect, audio, wanted)
        except Refused as refused:
            # vLLM, where the model is none of Whisper's.
            if dialect != "openai" or not re.search(r"verbose_json|response_format", refused.message):
                raise
            self._response_format = "json"
            body = await self._send(dialect, audio, wanted)
        return parse_transcript(body, seconds=seconds)

    async def _send(self, dialect: Dialect, audio: Audio, wanted: Wanted) -> bytes:
        async with audio() as upload:
            return await self._client.answer(
                Call(
                    "POST",
                    self._address(dialect),
                    params=parameters(dialect, wanted, self._model),
                    headers=wanted.headers,
                    body=partial(_form, dialect, upload, fields(dialect, wanted, self._model, self._response_format)),
                )
            )

    async def _task(self, audio: Audio, seconds: float, wanted: Wanted) -> Transcript:
        created = parsed_object(await self._send("tasks", audio, wanted))
        identifier = created.get("identifier")
        if not isinstance(identifier, str) or not identifier:
            raise Failure("invalid_response", "the server made a task without an identifier")
        call = Call("GET", task_url(self._root, identifier), headers=wanted.headers)
        while True:
            match parsed_object(await self._client.answer(call)):
                case {"status": "completed", **task}:
                    return _with_language(transcript_in(task, seconds=seconds), wanted)
                case {"status": "failed" | "cancelled" as status, **task}:
                    raise Failure("provider_error", f"the task {status}: {task.get('error')}")
            await anyio.sleep(POLL_SECONDS)

    def _address(self, dialect: Dialect) -> str:
        if dialect_in(self.url) == dialect and not self.url.endswith("/v1"):
            return self.url
        return f"{self._root}{ROUTES[dialect]}"

    async def _find_dialect(self, wanted: Wanted) -> Dialect:
        """The dialect, told from the server's own description, else from the routes it has."""
        try:
            described = await self._client.answer(Call("GET", f"{self._root}/openapi.json", headers=wanted.headers))
            if dialect := dialect_described(described):
                return dialect
        except Refused as refused:
            if refused.status not in _NO_DESCRIPTION:
                raise
        for dialect, route in ROUTES.items():
            try:
                await self._client.answer(Call("GET", f"{self._root}{route}", headers=wanted.headers))
            except Refused as refused:
                if refused.category == "unauthorized" or refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                # These routes take POST alone.
                if refused.status == HTTPStatus.NOT_FOUND:
                    continue
            return dialect
        routes = ", ".join(ROUTES.values())
        raise Failure("provider_unavailable", f"the server has none of the routes {routes}; say WHISPERX_API")

    async def _find_model(self, wanted: Wanted) -> str | None:
        """The model of a server that wants one to be named; it is asked only where none is configured."""
        with suppress(Failure):
            listed = parsed_object(
                await self._client.answer(Call("GET", f"{self._root}/v1/models", headers=wanted.headers))
            )
            match listed.get("data"):
                case [{"id": str(name)}, *_]:
                    return name
        return None


def _form(dialect: Dialect, upload: object, options: dict[str, str]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for name, value in options.items():
        form.add_field(name, value)
    # An extension is mandatory in the `tasks` dialect, and WAV is known to all.
    form.add_field(FILE_FIELDS[dialect], upload, filename="audio.wav", content_type="audio/wav")
    return form


def _with_language(heard: Transcript, wanted: Wanted) -> Transcript:
    if wanted.language is not None:
        return heard
    # It detects none: better said than left to be found out.
    taken = heard.language or "its default"
    return replace(heard, warning=f"input.language was not given, and this server took {taken} without listening")
