"""Recordings of any format as 16 kHz samples, decoded by a process of their own."""

import json
import signal
import sys
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryFile
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream, Process

from workers.failures import Failure

RATE: Final = 16_000
WINDOW: Final = RATE // 20

_DECODER: Final = str(Path(__file__).with_name("decoder.py"))
_UNSUPPORTED: Final = 3
_CHUNK: Final = 64 * 1024
# What ends a decoder though nothing is wrong with it: a stop of all processes, or somebody's hand.
_TOLD_TO_END: Final = {-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}


@dataclass(frozen=True)
class Recording:
    """A decodable recording on disk: `frames` samples of each of `voices`, which are 1 or 2.

    Two are the channels of a stereo call; `channels` counts those in the file, where both may carry the same.
    `loudness` has, for each voice, the mean amplitude (of 32,768) of every 50 ms. `samples` has those of a short
    recording, interleaved, and nothing of a long one.
    """

    path: Path
    kind: str
    channels: int
    voices: int
    frames: int
    loudness: tuple["array[int]", ...]
    samples: bytes = b""

    @property
    def seconds(self) -> float:
        return self.frames / RATE


async def probe(path: Path, kind: str = "") -> Recording:
    """The recording in the file, decoded once to the end; `kind` is the extension that its name had.

    Raises `Failure`: `unsupported_audio` for what cannot be decoded, or is cut off.
    """
    with TemporaryFile() as complaint:
        async with _decoder("scan", str(path), kind, stderr=complaint.fileno()) as process:
            said = b"".join([chunk async for chunk in _output(process)])
            status = await process.wait()
        if status != 0:
            complaint.seek(0)
            raise _failure(status, complaint.read())
    line, _, rest = said.partition(b"\n")
    found = json.loads(line)
    samples, levels = rest[: found["samples"]], array("H", rest[found["samples"] :])
    each = len(levels) // found["voices"]
    return Recording(
        path=path,
        kind=kind,
        channels=found["channels"],
        voices=found["voices"],
        frames=found["frames"],
        loudness=tuple(levels[voice * each : (voice + 1) * each] for voice in range(found["voices"])),
        samples=samples,
    )


@asynccontextmanager
async def samples_of(recording: Recording, voice: int | None = None) -> AsyncIterator[AsyncIterator[bytes]]:
    """The samples of one voice, or of all interleaved, as a stream that is decoded while it is read.

    16 bit little-endian, exactly `frames` of them for each voice. The decoder ends with the context.
    """
    if recording.voices == 1:
        voice = 0
    if recording.samples:
        yield _kept(recording, voice)
        return
    number = str(-1 if voice is None else voice)
    async with _decoder("pcm", str(recording.path), recording.kind, str(recording.channels), number) as process:
        yield _exactly(process, recording.frames * 2 * (recording.voices if voice is None else 1))


@asynccontextmanager
async def _decoder(*arguments: str, stderr: int = DEVNULL) -> AsyncIterator[Process]:
    """A decoder, which ends with the context."""
    # Without our environment, which holds secrets; out of reach of a terminal's Ctrl-C, which is for us.
    command = [sys.executable, "-I", _DECODER, *arguments]
    # Cancelled half-way through its start, a process would be ours and nobody's: nobody would wait for its end.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(command, stdin=DEVNULL, stderr=stderr, env={}, start_new_session=True)
    async with process:
        try:
            yield process
        finally:
            # Whatever happens, it must not be waited for: it may have more to say than anybody reads.
            if process.returncode is None:
                process.kill()


async def _kept(recording: Recording, voice: int | None) -> AsyncIterator[bytes]:
    if voice is None or recording.voices == 1:
        yield recording.samples
    else:
        yield array("h", recording.samples)[voice :: recording.voices].tobytes()


def _output(process: Process) -> ByteReceiveStream:
    assert process.stdout is not None  # noqa: S101 - it was opened with a pipe
    return process.stdout


async def _exactly(process: Process, size: int) -> AsyncIterator[bytes]:
    left = size
    try:
        while left:
            chunk = (await _output(process).receive(_CHUNK))[:left]
            left -= len(chunk)
            yield chunk
    except anyio.EndOfStream:
        raise _failure(await process.wait(), b"the decoder stopped early") from None


def _failure(status: int, said: bytes) -> Failure:
    text = said.decode(errors="replace").strip()
    if status == _UNSUPPORTED:
        return Failure("unsupported_audio", f"the recording: {text}")
    if status in _TOLD_TO_END:
        return Failure("internal", f"the decoder was told to end (signal {-status})")
    if status < 0:
        return Failure("unsupported_audio", f"the recording broke its decoder (signal {-status})")
    return Failure("internal", f"the decoder does not work: {text[-500:]}")
