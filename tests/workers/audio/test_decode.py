"""What becomes of a recording of any format: 16 kHz samples, complete, or a refusal that says why."""

import signal
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from tests.waiting import SOON
from tests.workers.audio.recordings import (
    FORMATS,
    WORD_SECONDS,
    encoded,
    samples,
    stored_at,
    utterances,
    wav,
    words_in,
)
from workers.audio import decode
from workers.audio.decode import Recording, probe, samples_of
from workers.audio.split import split
from workers.failures import Failure

# Of a packet of these nobody knows beforehand how much sound it holds.
COMPRESSED = ["mp3", "ogg", "m4a"]
LEFT = utterances(6, first=1, every=3)
RIGHT = utterances(6, first=2, every=3)


async def decoded(path: Path, voice: int | None = None) -> bytes:
    async with samples_of(await probe(path), voice) as chunks:
        return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("form", FORMATS)
async def test_every_format_is_decoded_with_its_words_at_their_times(form: str, tmp_path: Path) -> None:
    path = stored_at(tmp_path, encoded([LEFT], 6, form))

    recording = await probe(path)
    heard = words_in(await decoded(path))

    assert (recording.voices, round(recording.seconds, 1)) == (1, 6.0)
    assert [word.number for word in heard] == [word.number for word in LEFT]
    assert all(abs(one.start - other.start) < 0.1 for one, other in zip(heard, LEFT, strict=True))


@pytest.mark.parametrize("form", ["alaw.wav", "mp3", "ogg", "m4a"])
async def test_the_channels_of_a_stereo_recording_are_two_voices(form: str, tmp_path: Path) -> None:
    path = stored_at(tmp_path, encoded([LEFT, RIGHT], 6, form))

    left, right = words_in(await decoded(path, 0)), words_in(await decoded(path, 1))

    assert [word.number for word in left] == [word.number for word in LEFT]
    assert [word.number for word in right] == [word.number for word in RIGHT]


@pytest.mark.parametrize(
    ("form", "seconds", "channels"),
    [
        *((form, 60, 2) for form in FORMATS),
        *(pytest.param(form, 720, 1, marks=pytest.mark.slow) for form in COMPRESSED),
    ],
)
async def test_of_a_long_recording_no_word_is_lost(form: str, seconds: int, channels: int, tmp_path: Path) -> None:
    voices = [utterances(seconds, first=first, every=16) for first in (1, 9)[:channels]]
    # AAC takes a while over every noise, however faint.
    audio = encoded(voices, seconds, form, rate=8_000, noise=0 if form == "m4a" else 4)

    recording = await probe(stored_at(tmp_path, audio))
    pieces = split(recording, longest=28)

    assert recording.voices == channels
    assert recording.seconds == pytest.approx(seconds, abs=0.2)
    for voice, said in enumerate(voices):
        # Each window of 50 ms, and whether it is loud.
        loud = [level > 1_000 for level in recording.loudness[voice]]
        assert all(loud[round((word.start + WORD_SECONDS / 2) * 20)] for word in said)
        assert sum(loud) == pytest.approx(len(said) * WORD_SECONDS * 20, rel=0.2)
        for word in said:
            assert [
                piece
                for piece in pieces
                if piece.voice == voice
                and piece.offset <= word.start
                and word.start + WORD_SECONDS <= piece.offset + piece.seconds
            ]


async def test_mono_that_was_stored_as_stereo_is_one_voice(tmp_path: Path) -> None:
    path = stored_at(tmp_path, encoded([LEFT, LEFT], 6, "mp3"))

    recording = await probe(path)

    assert (recording.channels, recording.voices) == (2, 1)
    assert [word.number for word in words_in(await decoded(path))] == [word.number for word in LEFT]


async def test_more_than_two_channels_are_mixed_to_one_voice(tmp_path: Path) -> None:
    sound = samples([[], [], LEFT, [], [], []], 6)
    path = stored_at(tmp_path, wav(sound, channels=6))

    recording = await probe(path)

    assert recording.voices == 1
    assert recording.frames == 6 * 16_000


async def test_ten_minutes_are_decoded_as_a_stream(tmp_path: Path) -> None:
    path = stored_at(tmp_path, encoded([utterances(600, first=5, every=60)], 600, "alaw.wav"))
    recording = await probe(path)

    async with samples_of(recording) as chunks:
        sizes = [len(chunk) async for chunk in chunks]

    assert sum(sizes) == 600 * 32_000
    assert max(sizes) <= 64 * 1024


async def test_a_stream_may_be_left_before_its_end(tmp_path: Path) -> None:
    recording = await probe(stored_at(tmp_path, encoded([LEFT], 6, "mp3")))

    with anyio.fail_after(SOON):
        async with samples_of(recording) as chunks:
            first = await anext(chunks)

    assert first


async def read_whole(recording: Recording) -> None:
    await probe(recording.path)


async def read_as_a_stream(recording: Recording) -> None:
    async with samples_of(replace(recording, samples=b"")):
        await anyio.sleep_forever()


@pytest.mark.parametrize("read", [read_whole, read_as_a_stream])
async def test_who_is_cancelled_while_the_decoder_starts_waits_for_its_end(
    read: Callable[[Recording], Awaitable[None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = await probe(stored_at(tmp_path, encoded([LEFT], 6, "mp3")))
    open_process = anyio.open_process
    started: list[Process] = []

    async def cancelled(command: list[str], **options: Any) -> Process:  # noqa: ANN401 - as anyio has them
        scope.cancel()
        started.append(await open_process(command, **options))
        return started[-1]

    monkeypatch.setattr(anyio, "open_process", cancelled)
    with anyio.CancelScope() as scope:
        await read(recording)

    # Not which one: asyncio may look whether it has ended at the same time as who waits for that.
    assert [process.returncode is not None for process in started] == [True]


@pytest.mark.parametrize("kind", ["alaw", "al"])
async def test_a_law_without_a_header_is_told_by_its_extension(kind: str, tmp_path: Path) -> None:
    with_header = encoded([LEFT], 6, "alaw.wav")
    path = stored_at(tmp_path, with_header[-6 * 8_000 :])

    recording = await probe(path, kind)

    assert round(recording.seconds) == 6


@pytest.mark.parametrize("declared", [0, 0xFFFFFFFF])
async def test_a_wav_file_that_was_written_as_a_stream_says_nothing_of_its_length(
    declared: int, tmp_path: Path
) -> None:
    audio = bytearray(wav(samples([LEFT], 6)))
    audio[40:44] = struct.pack("<I", declared)

    recording = await probe(stored_at(tmp_path, bytes(audio)))

    assert recording.seconds == 6


@pytest.mark.parametrize("form", ["wav", "alaw.wav", "mp3", "flac", "m4a"])
async def test_half_a_recording_does_not_pass_for_a_whole_one(form: str, tmp_path: Path) -> None:
    audio = encoded([LEFT], 6, form)
    path = stored_at(tmp_path, audio[: len(audio) // 2])

    with pytest.raises(Failure) as raised:
        await probe(path)

    assert raised.value.category == "unsupported_audio"


@pytest.mark.parametrize(
    "content",
    [b"", b"this is a text", b"<html>404</html>" * 100, bytes(10_000), b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"],
)
async def test_what_is_no_recording_is_unsupported(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(Failure) as raised:
        await probe(stored_at(tmp_path, content))

    assert raised.value.category == "unsupported_audio"
    assert str(tmp_path) not in raised.value.message


async def test_a_recording_without_a_sample_is_silence(tmp_path: Path) -> None:
    recording = await probe(stored_at(tmp_path, wav(samples([[]], 0))))

    assert recording.frames == 0


@pytest.mark.parametrize(
    ("ended_by", "category"),
    [
        (signal.SIGSEGV, "unsupported_audio"),
        (signal.SIGKILL, "unsupported_audio"),
        (signal.SIGTERM, "internal"),
        (signal.SIGINT, "internal"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
async def test_only_a_decoder_that_is_told_to_end_speaks_well_of_its_recording(
    ended_by: signal.Signals, category: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = tmp_path / "decoder.py"
    # In a session of its own, where no terminal's Ctrl-C reaches it.
    decoder.write_text(f"""
import os, resource, signal
assert os.getsid(0) == os.getpid()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
if {ended_by:d} == signal.SIGINT:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
os.kill(os.getpid(), {ended_by:d})
""")
    monkeypatch.setattr(decode, "_DECODER", str(decoder))

    with pytest.raises(Failure, match=rf"signal {ended_by:d}\)") as raised:
        await probe(stored_at(tmp_path, wav(samples([LEFT], 6))))

    assert raised.value.category == category


async def test_the_decoder_sees_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")

    recording = await probe(stored_at(tmp_path, wav(samples([LEFT], 6))))

    assert recording.seconds == 6
