"""Where recordings are cut: at quiet points, with nothing lost and nothing twice."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tests.workers.audio.recordings import (
    WORD_SECONDS,
    Word,
    heard_in,
    samples,
    stored_at,
    utterances,
    wav,
    without_pause,
    words_in,
)
from workers.audio.decode import RATE, probe, samples_of
from workers.audio.split import Piece, cut, is_silent, split, wav_header


async def pieces_of(
    folder: Path,
    voices: Sequence[Sequence[Word]],
    seconds: float,
    *,
    longest: float = 28.0,
    pause: float | None = 0.8,
    noise: int = 4,
) -> list[tuple[Piece, bytes]]:
    path = stored_at(folder, wav(samples(voices, seconds, noise=noise), channels=len(voices)))
    recording = await probe(path)
    pieces = split(recording, longest=longest, pause=pause)
    async with samples_of(recording) as chunks:
        return [taken async for taken in cut(chunks, recording.voices, pieces)]


def words_of(pieces: list[tuple[Piece, bytes]], voice: int = 0) -> list[Word]:
    return [
        Word(word.number, round(word.start + piece.offset, 1))
        for piece, heard in pieces
        if piece.voice == voice
        for word in words_in(heard)
    ]


def assert_same(heard: list[Word], said: list[Word]) -> None:
    assert [word.number for word in heard] == [word.number for word in said]
    assert all(abs(one.start - other.start) < 0.15 for one, other in zip(heard, said, strict=True))


@pytest.mark.parametrize("longest", [5.0, 28.0])
async def test_speech_without_pauses_is_cut_between_words(longest: float, tmp_path: Path) -> None:
    said = without_pause(60)

    pieces = await pieces_of(tmp_path, [said], 60, longest=longest)

    assert_same(words_of(pieces), said)
    assert max(piece.seconds for piece, _ in pieces) <= longest
    assert len(pieces) <= 60 / (longest * 0.75) + 1


async def test_a_piece_ends_where_the_speaker_pauses(tmp_path: Path) -> None:
    said = utterances(60, first=2, every=6)

    pieces = await pieces_of(tmp_path, [said], 60)

    assert len(pieces) == len(said) // 3
    assert all(abs(piece.offset - word.start) < 0.3 for (piece, _), word in zip(pieces, said[::3], strict=True))
    assert_same(words_of(pieces), said)


async def test_without_regard_for_pauses_there_are_as_few_pieces_as_possible(tmp_path: Path) -> None:
    pieces = await pieces_of(tmp_path, [utterances(60, first=2, every=6)], 60, longest=59, pause=None)

    assert len(pieces) == 1


@pytest.mark.parametrize("noise", [0, 60, 300])
async def test_noise_on_the_line_hides_no_word(noise: int, tmp_path: Path) -> None:
    said = utterances(60, first=2, every=6)

    pieces = await pieces_of(tmp_path, [said], 60, noise=noise)

    assert_same(words_of(pieces), said)


async def test_two_voices_are_cut_each_for_itself_and_ordered_by_time(tmp_path: Path) -> None:
    left, right = utterances(60, first=1, every=6), utterances(60, first=4, every=6)

    pieces = await pieces_of(tmp_path, [left, right], 60)

    assert_same(words_of(pieces, 0), left)
    assert_same(words_of(pieces, 1), right)
    assert [piece.voice for piece in sorted(piece for piece, _ in pieces)] == [0, 1] * (len(pieces) // 2)


async def test_silence_has_no_pieces(tmp_path: Path) -> None:
    recording = await probe(stored_at(tmp_path, wav(samples([[]], 60, noise=8))))

    assert split(recording, longest=28) == []
    assert is_silent(recording, 0)


async def test_a_word_at_the_very_beginning_and_end_is_not_lost(tmp_path: Path) -> None:
    said = [Word(3, 0.0), Word(5, 30.0 - WORD_SECONDS)]

    pieces = await pieces_of(tmp_path, [said], 30)

    assert_same(words_of(pieces), said)


async def test_pieces_do_not_overlap_and_end_within_the_recording(tmp_path: Path) -> None:
    pieces = [piece for piece, _ in await pieces_of(tmp_path, [without_pause(100)], 100.013)]

    assert all(one.end <= other.start for one, other in pairwise(pieces))
    assert pieces[-1].end <= 100.013 * RATE


async def test_the_header_makes_a_wav_file_of_samples(tmp_path: Path) -> None:
    said = utterances(20, first=2, every=6)
    sound = samples([said], 20).tobytes()

    assert_same(heard_in(wav_header(len(sound) // 2) + sound), said)
