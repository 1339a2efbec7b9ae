"""One reader for the answers of all providers."""

import json
from typing import Any

import pytest
from pydantic import JsonValue

from workers.failures import Failure
from workers.providers.audio_llm import cleaned
from workers.providers.transcript import Transcript, joined, parse_transcript

SEGMENT = {"start": 0.5, "end": 2.0, "text": " Алло. "}


def parsed(answer: object, *, seconds: float = 10) -> Transcript:
    return parse_transcript(json.dumps(answer).encode(), seconds=seconds)


def times(answer: object) -> list[tuple[float, float, str]]:
    return [(said.start, said.end, said.text) for said in parsed(answer).segments]


@pytest.mark.parametrize(
    "answer",
    [
        {"segments": [SEGMENT]},
        [SEGMENT],
        {"text": [SEGMENT]},
        {"segments": {"segments": [SEGMENT], "word_segments": []}},
        {"segments": {"0": SEGMENT}},
        {"result": {"segments": [SEGMENT]}, "status": "completed"},
        {"result": [SEGMENT]},
        {"text": "Алло.", "segments": [SEGMENT]},
        {"segments": [{"start": "0.5", "end": "2", "text": "Алло."}]},
        {"utterances": [{"start": 500, "end": 2000, "text": "Алло.", "words": [{"text": "Алло.", "start": 500}]}]},
        {"chunks": [{"timestamp": [0.5, 2.0], "text": "Алло."}]},
    ],
)
def test_segments_are_found_wherever_they_lie(answer: JsonValue) -> None:
    assert times(answer) == [(0.5, 2.0, "Алло.")]


@pytest.mark.parametrize(
    "answer", [{"text": " Алло. "}, "Алло.", {"result": "Алло."}, {"text": "Алло.", "segments": []}]
)
def test_text_without_times_is_one_segment(answer: JsonValue) -> None:
    assert times(answer) == [(0.0, 10.0, "Алло.")]


@pytest.mark.parametrize("answer", [{"segments": []}, {"text": ""}, {"segments": [], "text": " "}, [{"text": "  "}]])
def test_nothing_said_is_a_transcript_without_segments(answer: JsonValue) -> None:
    assert parsed(answer).segments == ()


def test_times_that_are_missing_or_nonsense_follow_from_their_neighbours() -> None:
    answer = """{"segments": [
        {"start": 1, "end": NaN, "text": "a"}, {"start": 3, "end": 2, "text": "b"}, {"text": "c"},
        {"start": "soon", "end": Infinity, "text": "d"}, {"start": -1, "end": 1e999, "text": "e"}]}"""

    segments = parse_transcript(answer.encode(), seconds=10).segments

    assert sorted((said.text, said.start, said.end) for said in segments) == [
        ("a", 1.0, 3.0),
        ("b", 3.0, 3.0),
        ("c", 3.0, 10.0),
        ("d", 10.0, 10.0),
        ("e", 0.0, 10.0),
    ]
    assert [said.start for said in segments] == sorted(said.start for said in segments)


def test_nul_and_lone_surrogates_are_replaced() -> None:
    (segment,) = parsed({"segments": [{"start": 0, "end": 1, "text": "a\x00b\ud83d", "speaker": "\x00"}]}).segments

    assert (segment.text, segment.speaker) == ("a\ufffdb\ufffd", "\ufffd")


@pytest.mark.parametrize(
    ("item", "speaker"),
    [
        ({"speaker": "SPEAKER_01"}, "SPEAKER_01"),
        ({"speaker": 1}, "SPEAKER_01"),
        ({"speaker": None}, None),
        ({"speaker": ""}, None),
        ({}, None),
        ({"words": [{"word": "a", "speaker": "X"}, {"word": "b", "speaker": "Y"}, {"word": "c", "speaker": "Y"}]}, "Y"),
    ],
)
def test_a_speaker_is_known_or_null(item: dict[str, Any], speaker: str | None) -> None:
    (segment,) = parsed({"segments": [{**SEGMENT, **item}]}).segments

    assert segment.speaker == speaker


def test_words_keep_their_times_also_where_some_have_none() -> None:
    words = [{"word": "in", "start": 0.5, "end": 0.7, "score": 0.9}, {"word": "2026"}, "junk", {"start": 1}]

    (segment,) = parsed({"segments": [{**SEGMENT, "words": words}]}).segments

    assert segment.moved(10).document()["words"] == [
        {"word": "in", "start": 10.5, "end": 10.7, "score": 0.9},
        {"word": "2026", "start": None, "end": None},
    ]


def test_a_segment_has_exactly_what_the_contract_says() -> None:
    assert parsed([SEGMENT]).segments[0].document() == {"start": 0.5, "end": 2.0, "text": "Алло.", "speaker": None}


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"<html>", b"7", b"null", b'{"status": "?"}', b"\xff"])
def test_what_is_no_transcript_is_refused(body: bytes) -> None:
    with pytest.raises(Failure) as raised:
        parse_transcript(body, seconds=1)

    assert raised.value.category == "invalid_response"


def test_parts_are_joined_by_time() -> None:
    whole = joined([parsed([{**SEGMENT, "start": 5}]), parsed([SEGMENT]), Transcript(language="en")])

    assert [said.start for said in whole.segments] == [0.5, 5]
    assert whole.language is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Добрый день.", "Добрый день."),
        ("```text\n Добрый день.\n```", "Добрый день."),
        ("The original content of this audio is: 'Добрый день.'", "Добрый день."),
        ('Transcription: "Алло."', "Алло."),
        ("«Алло.»", "Алло."),
        ("<|ru|>Добрый день.", "Добрый день."),
        ('"Да", сказал он. "Нет"', '"Да", сказал он. "Нет"'),
        ("The content is king.", "The content is king."),
        ("", ""),
        ('"', '"'),
    ],
)
def test_what_models_put_around_a_transcript_is_removed(text: str, said: str) -> None:
    assert cleaned(text) == said
