"""WhisperX: one or several servers of any dialect."""

import io
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

import anyio
from anyio import to_thread

from workers.audio.decode import Recording, samples_of
from workers.audio.split import Piece, is_silent, split, wav_header
from workers.failures import Failure
from workers.providers.http import HttpClient, Refused, Unreached, Upload
from workers.providers.pieces import Wanted, placed, transcribe_pieces
from workers.providers.transcript import Transcript, joined
from workers.providers.whisperx_dialects import Dialect
from workers.providers.whisperx_server import Audio, Server

# For servers that refuse whole recordings: vLLM takes 600 seconds and 25 MB, this is 19 MB.
LONGEST_PIECE: Final = 590.0
PAUSE_SECONDS: Final = 30.0

_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_TOO_LONG: Final = re.compile(
    r"too (?:large|long|big)|file_?size|maximum (?:allowed )?(?:duration|length|size)|exceeds", re.IGNORECASE
)


@dataclass
class Instance:
    """A server, and how busy we keep it; it pauses while it is in trouble."""

    server: Server
    in_flight: int = 0
    last_taken: float = 0.0
    paused_until: float = 0.0


class WhisperX:
    """A provider of one or several servers, the least busy of which takes the next recording."""

    name = "whisperx"

    def __init__(self, client: HttpClient, *, urls: tuple[str, ...], api: Dialect | None, model: str | None) -> None:
        self.model = model
        self._instances = [Instance(Server(client, url, api, model)) for url in urls]
        self._refused_seconds = float("inf")

    async def transcribe(self, recording: Recording, wanted: Wanted) -> Transcript:
        """All that is said. The channels of a stereo call are heard each for itself, so they need no telling apart."""
        if recording.voices > 1:
            wanted = replace(wanted, diarize=False, min_speakers=None, max_speakers=None)
        if recording.seconds < self._refused_seconds:
            try:
                return await self._whole(recording, wanted)
            except Refused as refused:
                if not _is_too_long(refused) or recording.seconds <= LONGEST_PIECE:
                    raise
                self._refused_seconds = recording.seconds
        return await self._in_pieces(recording, wanted)

    async def _whole(self, recording: Recording, wanted: Wanted) -> Transcript:
        """Each voice in one call, so that its speakers are told apart over all its length."""
        parts: list[Transcript] = []
        failures: list[Failure] = []
        slots = anyio.Semaphore(len(self._instances))

        async def one(piece: Piece) -> None:
            @asynccontextmanager
            async def audio() -> AsyncIterator[object]:
                async with samples_of(recording, piece.voice) as samples:
                    yield Upload(_after(wav_header(recording.frames), samples), 44 + 2 * recording.frames, "audio/wav")

            async with slots:
                try:
                    parts.append(placed(await self._hear(audio, recording.seconds, wanted), piece, recording))
                except Failure as failure:
                    failures.append(failure)
                    tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for voice in range(recording.voices):
                if not await to_thread.run_sync(is_silent, recording, voice):
                    tasks.start_soon(one, Piece(0, voice, recording.frames))
        if failures:
            raise failures[0]
        return joined(parts)

    async def _in_pieces(self, recording: Recording, wanted: Wanted) -> Transcript:
        pieces = await to_thread.run_sync(lambda: split(recording, longest=LONGEST_PIECE, pause=None))

        async def transcribe(piece: Piece, samples: bytes) -> Transcript:
            @asynccontextmanager
            async def audio() -> AsyncIterator[object]:
                yield io.BytesIO(wav_header(len(samples) // 2) + samples)

            heard = await self._hear(audio, piece.seconds, wanted)
            if len(pieces) > 1:
                # The first speaker of one piece need not be the first of the next.
                heard = replace(heard, segments=tuple(replace(said, speaker=None) for said in heard.segments))
            return heard

        return await transcribe_pieces(recording, pieces, transcribe, at_once=len(self._instances))

    async def _hear(self, audio: Audio, seconds: float, wanted: Wanted) -> Transcript:
        """Ask the least busy instance; one that cannot be reached, or is full, leaves it to the next."""
        untried = list(self._instances)
        while True:
            instance = min(
                untried, key=lambda one: (one.paused_until > time.monotonic(), one.in_flight, one.last_taken)
            )
            untried.remove(instance)
            instance.in_flight += 1
            instance.last_taken = time.monotonic()
            try:
                return await instance.server.transcribe(audio, seconds, wanted)
            except Failure as failure:
                if failure.provider_trouble:
                    instance.paused_until = time.monotonic() + PAUSE_SECONDS
                if not untried or not _heard_nothing(failure):
                    raise
            finally:
                instance.in_flight -= 1


def _heard_nothing(failure: Failure) -> bool:
    """Whether the instance did nothing for the call, so that another one may."""
    return isinstance(failure, Unreached) or (isinstance(failure, Refused) and failure.status in _BUSY)


def _is_too_long(refused: Refused) -> bool:
    return refused.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (
        refused.category in ("invalid_input", "context_length_exceeded") and bool(_TOO_LONG.search(refused.message))
    )


async def _after(header: bytes, samples: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield header
    async for chunk in samples:
        yield chunk
