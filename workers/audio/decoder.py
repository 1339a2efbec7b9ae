"""The program that decodes. `workers.audio.decode` runs it in a process of its own.

A recording comes from anybody, and the decoders are C: here a hostile one can reach neither memory, secrets nor
files of the worker, it can be killed at any moment, and it does not hold up the event loop. It stands alone: it
imports nothing of ours.

    decoder.py scan PATH KIND           a line of JSON, the samples if they are few, the loudness of each voice
    decoder.py pcm PATH KIND VOICES n   the samples of voice n, or of all voices interleaved where n is -1

Samples are 16 bit, little-endian, 16 kHz. KIND is a file extension, for what does not say itself what it is. Exits
with 3 and says why on stderr when the recording cannot be decoded.
"""

import json
import os
import struct
import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from operator import mul
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer

if TYPE_CHECKING:
    from av.audio.stream import AudioStream

RATE: Final = 16_000
WINDOW: Final = RATE // 20
MAX_SECONDS: Final = 24 * 3600
MEMORY: Final = 2 * 1024**3
UNSUPPORTED: Final = 3

# Containers of sound alone: no playlists or other formats that name further files and addresses.
FORMATS: Final = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,caf,flac,gsm,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,ogg,w64,wav,wv"
)
# What telephone systems write without any header.
RAW: Final = {"al": "alaw", "alaw": "alaw", "ul": "mulaw", "ulaw": "mulaw", "g722": "g722"}

PIPE: Final = 64 * 1024
KEPT: Final = 2 * 1024**2  # bytes of a recording so short that it need not be decoded twice
STRIDE: Final = 3
LONGEST_GAP_IGNORED: Final = 0.25
SAME: Final = 0.97
PLACEHOLDER: Final = 0x7FFFF000


class UnsupportedError(Exception):
    """The recording cannot be decoded, and the message says why."""


def opened(path: str, kind: str) -> InputContainer:
    """The container, read by what it is and not by its name. Raises UnsupportedError."""
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        return av.open(path, options=options)
    except av.error.FFmpegError as error:
        if kind not in RAW:
            raise UnsupportedError(f"this is no recording that can be read: {error.strerror}") from None
        options = {"protocol_whitelist": "file", "sample_rate": "16000" if kind == "g722" else "8000"}
        return av.open(path, format=RAW[kind], options={} if kind == "g722" else options)


class Decoder:
    """Decodes the first sound track; `voices` is 2 for stereo, and all else becomes one."""

    def __init__(self, container: InputContainer, voices: int | None = None) -> None:
        if not container.streams.audio:
            raise UnsupportedError("there is no sound in it")
        self.container = container
        self.stream: AudioStream = container.streams.audio[0]
        self.voices = voices
        self.seconds = 0.0
        self.packets = 0
        self.damaged = 0

    def samples(self) -> Iterator[bytes]:
        """The samples, interleaved; silence where the time stamps have a gap. Raises UnsupportedError."""
        resampler: AudioResampler | None = None
        shape: tuple[object, ...] = ()
        first: float | None = None
        for frame in self._frames():
            if self.voices is None:
                self.voices = 2 if frame.layout.nb_channels == 2 else 1  # noqa: PLR2004 - stereo
            if (frame.format.name, frame.layout.name, frame.sample_rate) != shape:
                yield from _resampled(resampler, None)
                shape = (frame.format.name, frame.layout.name, frame.sample_rate)
                resampler = AudioResampler("s16", "stereo" if self.voices == 2 else "mono", RATE)  # noqa: PLR2004
            if frame.pts is not None and frame.time_base is not None:
                at = float(frame.pts * frame.time_base)
                first = at if first is None else first
                yield from self._silence(at - first - self.seconds)
            self.seconds += frame.samples / frame.sample_rate
            if self.seconds > MAX_SECONDS:
                raise UnsupportedError(f"it is longer than {MAX_SECONDS // 3600} hours")
            # Stamps are for the clock above; the resampler would make up for rounding in them.
            frame.pts = None
            yield from _resampled(resampler, frame)
        yield from _resampled(resampler, None)

    def declared_seconds(self) -> float:
        """How long the recording says it is, 0 where it does not say or only guesses."""
        name = self.container.format.name
        exact = name == "flac" or name.startswith("mov,") or (name == "mp3" and bool(self.stream.start_time))
        if not exact or self.stream.duration is None or self.stream.time_base is None:
            return 0.0
        return float(self.stream.duration * self.stream.time_base)

    def _frames(self) -> Iterator[AudioFrame]:
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.error.FFmpegError):
                return
            self.packets += 1
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                self.damaged += 1

    def _silence(self, seconds: float) -> Iterator[bytes]:
        if seconds <= LONGEST_GAP_IGNORED:
            return
        self.seconds += seconds
        if self.seconds > MAX_SECONDS:
            raise UnsupportedError(f"it is longer than {MAX_SECONDS // 3600} hours")
        second = bytes(RATE * 2 * (self.voices or 1))
        whole, part = divmod(seconds, 1.0)
        for _ in range(int(whole)):
            yield second
        yield second[: int(part * RATE) * 2 * (self.voices or 1)]


def _resampled(resampler: AudioResampler | None, frame: AudioFrame | None) -> Iterator[bytes]:
    if resampler is not None:
        for part in resampler.resample(frame):
            # Planes are padded.
            yield bytes(part.planes[0])[: part.samples * part.layout.nb_channels * 2]


class Scan:
    """What is learned from all samples: how loud each voice is when, and whether both are the same."""

    def __init__(self) -> None:
        self.frames = 0
        self.loudness = (array("H"), array("H"))
        self._rest = array("h")
        self._products = [0, 0, 0]

    def take(self, samples: bytes, voices: int) -> None:
        """Add samples, interleaved."""
        self.frames += len(samples) // (2 * voices)
        rest = self._rest
        rest.frombytes(samples)
        size = WINDOW * voices
        whole = len(rest) - len(rest) % size
        for start in range(0, whole, size):
            self._window(rest[start : start + size], voices)
        self._rest = rest[whole:]

    def finish(self, voices: int) -> None:
        """Add what is left over."""
        if self._rest:
            self._window(self._rest, voices)

    def same(self) -> bool:
        """Whether the two channels carry one voice: mono recorded, or encoded, as stereo."""
        left, right, both = self._products
        return left > 0 and right > 0 and both > SAME * (left * right) ** 0.5

    def _window(self, samples: "array[int]", voices: int) -> None:
        heard = [samples[voice :: voices * STRIDE] for voice in range(voices)]
        for loudness, voice in zip(self.loudness, heard, strict=False):
            loudness.append(sum(map(abs, voice)) // max(len(voice), 1))
        if voices > 1:
            left, right = heard
            for at, pair in enumerate(((left, left), (right, right), (left, right))):
                self._products[at] += sum(map(mul, *pair))


def scan(path: str, kind: str, out: BinaryIO) -> None:
    """Write what `workers.audio.decode.probe` wants to know. Raises UnsupportedError."""
    found = Scan()
    kept = bytearray()
    with opened(path, kind) as container:
        decoder = Decoder(container)
        for samples in decoder.samples():
            found.take(samples, decoder.voices or 1)
            kept += samples if len(kept) <= KEPT else b""
        channels = decoder.voices or 1
        found.finish(channels)
        _refuse_damaged(decoder, path, found.frames / RATE)
        voices = 1 if channels == 1 or found.same() else 2
    if len(kept) > KEPT:
        kept.clear()
    elif voices < channels:
        kept = bytearray(array("h", bytes(kept))[::channels].tobytes())
    facts = {"frames": found.frames, "channels": channels, "voices": voices, "samples": len(kept)}
    out.write(json.dumps(facts).encode() + b"\n" + kept)
    out.writelines(loudness.tobytes() for loudness in found.loudness[:voices])


def pcm(path: str, kind: str, channels: int, voice: int, out: BinaryIO) -> None:
    """Write the samples."""
    with opened(path, kind) as container:
        for samples in Decoder(container, channels).samples():
            if voice < 0 or channels == 1:
                out.write(samples)
            else:
                out.write(array("h", samples)[voice::channels].tobytes())


def _refuse_damaged(decoder: Decoder, path: str, seconds: float) -> None:
    """Half a recording must not pass for a whole one."""
    if decoder.damaged and not seconds:
        raise UnsupportedError("its sound cannot be decoded")
    if decoder.damaged > 3 + decoder.packets // 20:
        raise UnsupportedError(f"{decoder.damaged} of its {decoder.packets} parts are damaged")
    declared = decoder.declared_seconds()
    if declared - seconds > 1 + declared / 100:
        raise UnsupportedError(f"it is cut off: {seconds:.0f} of {declared:.0f} seconds are there")
    if decoder.container.format.name == "wav":
        missing = _missing_bytes(path)
        if missing * 8 > (decoder.stream.codec_context.bit_rate or 64_000):  # a second
            raise UnsupportedError(f"it is cut off: {missing} bytes are missing at its end")


def _missing_bytes(path: str) -> int:
    """How much less is there than the header of a WAV file promises; none where it promises nothing."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(12)
        while len(header := file.read(8)) == 8:  # noqa: PLR2004 - a name and a length
            name, length = struct.unpack("<4sI", header)
            if name == b"data":
                return max(0, file.tell() + length - size) if length < PLACEHOLDER else 0
            file.seek(length + length % 2, 1)
    return 0


def _limit() -> None:
    """No files, no core dumps, bounded memory. Only where the system can do that."""
    with suppress(ImportError):
        import resource  # noqa: PLC0415 - not on every system

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(arguments: list[str]) -> int:
    """Run the command; the exit status."""
    _limit()
    # In large pieces: whoever reads is an event loop.
    out = open(sys.stdout.fileno(), "wb", buffering=PIPE, closefd=False)  # noqa: SIM115 - it is flushed below
    try:
        match arguments:
            case ["scan", path, kind]:
                scan(path, kind, out)
            case ["pcm", path, kind, channels, voice]:
                pcm(path, kind, int(channels), int(voice), out)
            case _:
                return 2
        out.flush()
    except (UnsupportedError, av.error.FFmpegError, MemoryError) as error:
        sys.stderr.write(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        return UNSUPPORTED
    except BrokenPipeError:
        # Whoever read has heard enough, and nothing can be flushed any more.
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
