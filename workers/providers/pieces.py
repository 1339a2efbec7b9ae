"""A recording transcribed piece by piece, each with one call."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import anyio

from workers.audio.decode import Recording, samples_of
from workers.audio.split import Piece, cut
from workers.failures import Failure
from workers.providers.transcript import Transcript, joined


@dataclass(frozen=True)
class Wanted:
    """What the job says about its recording; None where it says nothing. `headers` go along with every call."""

    language: str | None = None
    prompt: str | None = None
    diarize: bool | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """What turns recordings of any length into transcripts."""

    name: str
    model: str | None

    async def transcribe(self, recording: Recording, wanted: Wanted) -> Transcript:
        """All that is said in the recording. Raises `Failure`; cancelling it closes its connections."""
        ...


def placed(transcript: Transcript, piece: Piece, recording: Recording) -> Transcript:
    """The transcript of a piece, at its time in the recording; its speaker is the channel where there are two."""
    segments = [segment.moved(piece.offset) for segment in transcript.segments]
    if recording.voices > 1:
        speaker = f"SPEAKER_{piece.voice:02d}"
        segments = [replace(segment, speaker=speaker, channel=piece.voice) for segment in segments]
    return replace(transcript, segments=tuple(segments))


async def transcribe_pieces(
    recording: Recording,
    pieces: list[Piece],
    transcribe: Callable[[Piece, bytes], Awaitable[Transcript]],
    *,
    at_once: int,
) -> Transcript:
    """The transcripts of all pieces, joined. `transcribe` gets the samples of each; `at_once` are in memory.

    All or nothing: the first `Failure` ends the other calls and is raised, with the tokens of all.
    """
    parts: list[Transcript] = []
    failures: list[Failure] = []
    slots = anyio.Semaphore(at_once)

    async def one(piece: Piece, samples: bytes) -> None:
        try:
            parts.append(placed(await transcribe(piece, samples), piece, recording))
        except Failure as failure:
            failures.append(failure)
            tasks.cancel_scope.cancel()
        finally:
            slots.release()

    if not pieces:
        return Transcript()
    async with anyio.create_task_group() as tasks:
        try:
            async with samples_of(recording) as samples:
                async for piece, heard in cut(samples, recording.voices, pieces):
                    await slots.acquire()
                    tasks.start_soon(one, piece, heard)
        except Failure as failure:
            failures.append(failure)
            tasks.cancel_scope.cancel()
    if failures:
        failures[0].usage = joined([*parts, Transcript(usage=failures[0].usage)]).usage
        raise failures[0]
    if len(parts) != len(pieces):
        raise Failure("internal", f"{len(parts)} of {len(pieces)} pieces were transcribed")
    return joined(parts)
