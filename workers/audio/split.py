"""Where a recording is cut: at quiet points, into pieces that a model takes whole."""

import struct
from array import array
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

from workers.audio.decode import RATE, WINDOW, Recording

# As mean amplitudes of 32,768: about -66 and -46 dBFS. Quieter than the first is always silence, louder than the
# second never is; in between it depends on how quiet the recording gets.
SURELY_SILENT: Final = 16
SURELY_SOUND: Final = 164

WINDOWS_A_SECOND: Final = RATE // WINDOW
TURN_PAUSE: Final = 0.8  # seconds of silence after which somebody else may have spoken
_MARGIN: Final = WINDOWS_A_SECOND // 5


@dataclass(frozen=True, order=True)
class Piece:
    """A part of one voice, from `start` to before `end`, in samples."""

    start: int
    voice: int
    end: int

    @property
    def offset(self) -> float:
        """Where it begins, in seconds."""
        return self.start / RATE

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / RATE


def is_silent(recording: Recording, voice: int) -> bool:
    """Whether there is nothing to hear."""
    return not any(_sounding(recording.loudness[voice]))


def split(recording: Recording, *, longest: float, pause: float | None = TURN_PAUSE) -> list[Piece]:
    """The pieces in which somebody can be heard, ordered by time, none over `longest` seconds.

    A piece ends where its voice pauses for `pause` seconds (None: at no pause), and besides at the quietest point
    where it would get too long. Only silence is left out; together they have every sound, each once.
    """
    pieces = []
    for voice, loudness in enumerate(recording.loudness):
        for start, end in _stretches(loudness, None if pause is None else int(pause * WINDOWS_A_SECOND)):
            for first, last in _cut(loudness, start, end, int(longest * WINDOWS_A_SECOND)):
                pieces.append(Piece(first * WINDOW, voice, min(last * WINDOW, recording.frames)))
    return sorted(pieces)


def threshold(loudness: "array[int]") -> int:
    """The level from which something is heard: twice the noise of the line, within bounds."""
    # Not the least: a line may start with digital silence. Speech leaves more than a fiftieth between its words.
    floor = sorted(loudness)[len(loudness) // 50] if loudness else 0
    return min(max(2 * floor, SURELY_SILENT), SURELY_SOUND)


def _sounding(loudness: "array[int]") -> Iterator[bool]:
    level = threshold(loudness)
    return (heard > level for heard in loudness)


def _stretches(loudness: "array[int]", pause: int | None) -> Iterator[tuple[int, int]]:
    """From where to before where something is heard, in windows, with a margin on both sides."""
    start: int | None = None
    end = 0
    for at, sounds in enumerate(_sounding(loudness)):
        if not sounds:
            continue
        if start is not None and pause is not None and at - end >= pause:
            yield _widened(start, end, len(loudness))
            start = None
        start = at if start is None else start
        end = at + 1
    if start is not None:
        yield _widened(start, end, len(loudness))


def _widened(start: int, end: int, total: int) -> tuple[int, int]:
    return max(start - _MARGIN, 0), min(end + _MARGIN, total)


def _cut(loudness: "array[int]", start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    while end - start > longest:
        # In the last quarter: a piece is to be long, but a word is not to be cut.
        earliest = start + max(longest * 3 // 4, 1)
        cut = min(range(earliest, start + longest), key=lambda at: (loudness[at - 1] + loudness[at], -at))
        yield start, cut
        start = cut
    yield start, end


async def cut(samples: AsyncIterator[bytes], voices: int, pieces: list[Piece]) -> AsyncIterator[tuple[Piece, bytes]]:
    """Each piece with its samples, as soon as they have come: `samples` are of all voices, interleaved.

    Holds no more than the pieces that are not complete yet.
    """
    waiting = [[piece for piece in reversed(pieces) if piece.voice == voice] for voice in range(voices)]
    taken: list[bytearray] = [bytearray() for _ in range(voices)]
    at, rest = 0, b""
    async for chunk in samples:
        rest += chunk
        whole = len(rest) - len(rest) % (2 * voices)
        block, rest = array("h", rest[:whole]), rest[whole:]
        frames = len(block) // voices
        for voice in range(voices):
            heard = block[voice::voices]
            while waiting[voice] and waiting[voice][-1].start < at + frames:
                piece = waiting[voice][-1]
                taken[voice] += heard[max(piece.start - at, 0) : piece.end - at].tobytes()
                if piece.end > at + frames:
                    break
                waiting[voice].pop()
                complete, taken[voice] = bytes(taken[voice]), bytearray()
                yield piece, complete
        at += frames


def wav_header(frames: int) -> bytes:
    """What comes before so many samples of one voice to make a WAV file of them."""
    size = frames * 2
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + layout + struct.pack("<4sI", b"data", size)
