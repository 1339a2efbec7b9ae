"""Recordings that tests make: words are tones, so that a fake provider can hear which was said when."""

import math
import random
import wave
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path

import av
from av.audio.stream import AudioStream

VOCABULARY = 50
WORD_SECONDS = 0.4


@dataclass(frozen=True)
class Word:
    """A tone that means a number, and when it is heard."""

    number: int
    start: float

    @property
    def text(self) -> str:
        return f"w{self.number}"


def utterances(seconds: float, *, first: float, every: float, words: int = 3) -> list[Word]:
    """Someone who says a few words now and then, no two utterances in a row alike."""
    said = []
    count = int((seconds - first - words * 0.6) // every) + 1
    for turn in range(count):
        for at in range(words):
            number = (turn * words + at + int(first) * 7) % VOCABULARY
            said.append(Word(number, first + turn * every + at * 0.6))
    return said


def without_pause(seconds: float) -> list[Word]:
    """Someone who hardly takes breath."""
    return [Word(at % VOCABULARY, at * 0.6 + 0.1) for at in range(int((seconds - 0.2) / 0.6))]


def samples(voices: Sequence[Sequence[Word]], seconds: float, *, rate: int = 16_000, noise: int = 4) -> "array[int]":
    """The sound of all voices, interleaved, with a little noise between the words."""
    tracks = [_track(words, int(seconds * rate), rate, noise) for words in voices]
    mixed = array("h", bytes(2 * len(tracks) * len(tracks[0])))
    for voice, track in enumerate(tracks):
        mixed[voice :: len(tracks)] = track
    return mixed


def wav(sound: "array[int]", *, channels: int = 1, rate: int = 16_000) -> bytes:
    file = BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(sound.tobytes())
    return file.getvalue()


# For each format: its container, codec, what it samples, and with which rate.
FORMATS = {
    "wav": ("wav", "pcm_s16le", "s16", 16_000),
    "alaw.wav": ("wav", "pcm_alaw", "s16", 8_000),
    "mulaw.wav": ("wav", "pcm_mulaw", "s16", 8_000),
    "mp3": ("mp3", "libmp3lame", "s16p", 16_000),
    "ogg": ("ogg", "libopus", "s16", 16_000),
    "webm": ("webm", "libopus", "s16", 16_000),
    "m4a": ("ipod", "aac", "fltp", 16_000),
    "flac": ("flac", "flac", "s16", 44_100),
}
# The quickest way of each codec that has several: what is encoded here need not be small.
QUICKEST = {
    "libmp3lame": {"compression_level": "9"},
    "libopus": {"compression_level": "0"},
    "aac": {"aac_coder": "fast"},
}


def encoded(
    voices: Sequence[Sequence[Word]], seconds: float, form: str, *, rate: int | None = None, noise: int = 4
) -> bytes:
    """A recording in one of `FORMATS`; `rate` instead of the one that it has there."""
    container, codec, sample_format, usual_rate = FORMATS[form]
    rate = rate or usual_rate
    channels = len(voices)
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    sound = samples(voices, seconds, rate=rate, noise=noise).tobytes()
    file = BytesIO()
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout, options=QUICKEST.get(codec))
        assert isinstance(stream, AudioStream)
        resampler = av.AudioResampler(sample_format, layout, rate)
        size = rate * channels * 2
        for at in range(0, len(sound), size):
            part = sound[at : at + size]
            frame = av.AudioFrame("s16", layout, len(part) // channels // 2)
            frame.planes[0].update(part)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), at // channels // 2
            for resampled in resampler.resample(frame):
                out.mux(stream.encode(resampled))
        for resampled in resampler.resample(None):
            out.mux(stream.encode(resampled))
        out.mux(stream.encode(None))
    return file.getvalue()


def heard_in(audio: bytes, *, only_seconds: float | None = None) -> list[Word]:
    """The words in a mono WAV file; of `only_seconds` of it."""
    with wave.open(BytesIO(audio)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        rate = file.getframerate()
        frames = file.getnframes() if only_seconds is None else int(only_seconds * rate)
        return words_in(file.readframes(frames), rate)


def utterances_in(audio: bytes) -> list[list[Word]]:
    """The words in a mono WAV file, those together between which nobody pauses for a second."""
    heard: list[list[Word]] = []
    for word in heard_in(audio):
        if heard and word.start - heard[-1][-1].start < 1:
            heard[-1].append(word)
        else:
            heard.append([word])
    return heard


def seconds_of(audio: bytes) -> float:
    """The length of a WAV file."""
    with wave.open(BytesIO(audio)) as file:
        seconds: float = file.getnframes() / file.getframerate()
    return seconds


def shape_of(audio: bytes) -> tuple[int, int]:
    """The channels and the rate of a WAV file."""
    with wave.open(BytesIO(audio)) as file:
        return file.getnchannels(), file.getframerate()


def words_in(sound: bytes, rate: int = 16_000) -> list[Word]:
    """The words in samples of one voice: the rate at which a tone crosses zero tells which it is."""
    step = rate // 50
    signs = sound[1::2].translate(bytes(0 if byte < 128 else 1 for byte in range(256)))
    values = memoryview(sound).cast("h")
    loud = [max(map(abs, values[at : at + step : 3]), default=0) > 1_500 for at in range(0, len(values), step)]
    words, start = [], None
    for at, sounds in enumerate([*loud, False]):
        if sounds and start is None:
            start = at
        elif not sounds and start is not None:
            inner = signs[(start + 2) * step : (at - 2) * step]
            if len(inner) > rate // 10:
                frequency = inner.count(b"\x00\x01") * rate / len(inner)
                words.append(Word(round((frequency - 300) / 50), round(start * 0.02, 2)))
            start = None
    return words


def stored_at(folder: Path, audio: bytes) -> Path:
    path = folder / "recording"
    path.write_bytes(audio)
    return path


@cache
def _tone(number: int, rate: int) -> bytes:
    step = 2 * math.pi * (300 + 50 * number) / rate
    count = int(WORD_SECONDS * rate)
    return array("h", (round(8_000 * math.sin(step * at)) for at in range(count))).tobytes()


@cache
def _noise(rate: int, level: int) -> bytes:
    chance = random.Random(1)
    return array("h", (chance.randint(-level, level) for _ in range(rate))).tobytes()


def _track(words: Sequence[Word], frames: int, rate: int, noise: int) -> "array[int]":
    quiet = _noise(rate, noise)
    track = bytearray((quiet * (frames // rate + 1))[: frames * 2])
    for word in words:
        at = int(word.start * rate) * 2
        tone = _tone(word.number, rate)
        assert at + len(tone) <= len(track)
        track[at : at + len(tone)] = tone
    return array("h", bytes(track))
