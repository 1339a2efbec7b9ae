"""What a provider heard, whatever shape its answer has: one tolerant reader for all of them."""

import json
import math
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from pydantic import JsonValue

from workers.failures import Failure, clean
from workers.providers.answers import parsed, text_of, usage_in
from workers.providers.errors import MAX_ERROR, ProviderError

Words = list[dict[str, JsonValue]]

_LONGEST: Final = 366 * 24 * 3600.0


@dataclass(frozen=True)
class Segment:
    """Something said from `start` to `end`, in seconds; `words` as the provider gave them, if it did."""

    start: float
    end: float
    text: str
    speaker: str | None = None
    channel: int | None = None
    words: Words | None = None

    def moved(self, seconds: float) -> "Segment":
        """The same, so much later."""
        words = [_moved(word, seconds) for word in self.words] if self.words is not None else None
        return replace(self, start=_rounded(self.start + seconds), end=_rounded(self.end + seconds), words=words)

    def document(self) -> dict[str, JsonValue]:
        """As it stands in a result."""
        shown: dict[str, JsonValue] = {
            "start": self.start,
            "end": self.end,
            "text": self.text,
            "speaker": self.speaker,
        }
        if self.channel is not None:
            shown["channel"] = self.channel
        if self.words is not None:
            shown["words"] = [*self.words]
        return shown


@dataclass(frozen=True)
class Transcript:
    """All that was said, ordered by time; `warning` is what a reader of it should know."""

    segments: tuple[Segment, ...] = ()
    language: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = None
    warning: str | None = None

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)


def joined(parts: Iterable[Transcript]) -> Transcript:
    """One transcript of several, ordered by time."""
    parts = list(parts)
    segments = sorted((segment for part in parts for segment in part.segments), key=lambda said: (said.start, said.end))
    languages = Counter(part.language for part in parts if part.language and part.segments)
    usage: Counter[str] = Counter()
    for part in parts:
        usage.update(part.usage or {})
    return Transcript(
        segments=tuple(segments),
        language=languages.most_common(1)[0][0] if languages else None,
        model=next((part.model for part in parts if part.model), None),
        usage=dict(usage) or None,
        warning=next((part.warning for part in parts if part.warning), None),
    )


def parse_transcript(body: bytes, *, seconds: float) -> Transcript:
    """What the body of a success says: see `transcript_in`; its content type does not matter."""
    return transcript_in(parsed(body), seconds=seconds)


def transcript_in(answer: JsonValue, *, seconds: float) -> Transcript:
    """What an answer says about a recording of this length.

    `segments` may be a list, or lie in an object or in `result`; `text` may be a list of segments; there may be
    `utterances` (of AssemblyAI's shape, in milliseconds) or `chunks`. Text without times is one segment of the
    recording's length. Raises `Failure` with `invalid_response`.
    """
    if isinstance(answer, str):
        answer = {"text": answer}
    if isinstance(answer, list):
        answer = {"segments": answer}
    if not isinstance(answer, dict):
        raise Failure("invalid_response", "the answer is no transcript")
    if isinstance(result := answer.get("result"), dict | list | str):
        inner = result if isinstance(result, dict) else {"segments" if isinstance(result, list) else "text": result}
        answer = {**answer, **inner}
    items, text = _items(answer), answer.get("text")
    if items is None and not isinstance(text, str):
        said = ProviderError.parse(json.dumps(answer).encode()[:MAX_ERROR]).message
        raise Failure("invalid_response", f"the answer has neither segments nor text: {said}")
    segments = _segments(items or [], seconds)
    if not segments and isinstance(text, str) and text.strip():
        segments = [Segment(0.0, _rounded(seconds), text.strip())]
    return Transcript(
        segments=tuple(sorted(segments, key=lambda said: (said.start, said.end))),
        language=_language(answer),
        model=text_of(answer.get("model")),
        usage=usage_in(answer),
    )


def _items(answer: dict[str, JsonValue]) -> list[JsonValue] | None:
    for name in ("segments", "text", "utterances", "chunks"):
        items = answer.get(name)
        if isinstance(items, dict):
            # Either the segments lie one deeper, or they are numbered.
            deeper = items.get("segments")
            items = deeper if isinstance(deeper, list) else list(items.values())
        if isinstance(items, list):
            scale = 0.001 if name == "utterances" else 1.0
            return [_scaled(item, scale) for item in items]
    return None


def _scaled(item: JsonValue, scale: float) -> JsonValue:
    if not isinstance(item, dict):
        return item
    match item.get("timestamp"):
        case [start, end]:
            item = {**item, "start": start, "end": end}
    if scale != 1.0:
        times = {name: _number(item.get(name)) for name in ("start", "end")}
        item = {**item, **{name: time * scale for name, time in times.items() if time is not None}}
        item.pop("words", None)  # whose times are milliseconds, too
    return item


def _segments(items: list[JsonValue], seconds: float) -> list[Segment]:
    segments = []
    latest = 0.0
    for at, item in enumerate(items):
        if isinstance(item, str):
            item = {"text": item}  # noqa: PLW2901 - the same, in the usual shape
        if not isinstance(item, dict):
            continue
        words = _words(item.get("words"))
        text = item.get("text")
        if not isinstance(text, str):
            text = " ".join(str(word["word"]).strip() for word in words or [])
        start = _number(item.get("start"))
        start = latest if start is None else start
        end = _number(item.get("end"))
        end = _next_start(items[at + 1 :], seconds) if end is None else end
        latest = max(start, end)
        if text.strip():
            segments.append(
                Segment(
                    start=_rounded(start),
                    end=_rounded(latest),
                    text=text.strip(),
                    speaker=_speaker(item) or _speaker_of_words(words),
                    channel=channel if isinstance(channel := item.get("channel"), int) else None,
                    words=words,
                )
            )
    return segments


def _next_start(items: list[JsonValue], seconds: float) -> float:
    """When something with a time follows; whisperx leaves out the end of what it could not align."""
    for item in items[:1]:
        start = _number(item.get("start")) if isinstance(item, dict) else None
        if start is not None:
            return start
    return seconds


def _words(items: JsonValue) -> Words | None:
    if not isinstance(items, list):
        return None
    words: Words = []
    for item in items:
        word = item.get("word", item.get("text")) if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(word, str):
            continue
        # A word without times, such as a number, is still a word.
        shown: dict[str, JsonValue] = {
            "word": word,
            "start": _number(item.get("start")),
            "end": _number(item.get("end")),
        }
        score = _number(item.get("score", item.get("probability")))
        if score is not None:
            shown["score"] = score
        if speaker := _speaker(item):
            shown["speaker"] = speaker
        words.append(shown)
    return words or None


def _moved(word: dict[str, JsonValue], seconds: float) -> dict[str, JsonValue]:
    times = {name: word[name] for name in ("start", "end")}
    moved = {name: _rounded(time + seconds) for name, time in times.items() if isinstance(time, int | float)}
    return {**word, **moved}


def _speaker(item: dict[str, JsonValue]) -> str | None:
    match item.get("speaker"):
        case str(name) if name.strip():
            return name.strip()
        case int(number) if not isinstance(number, bool):
            return f"SPEAKER_{number:02d}"
        case _:
            return None


def _speaker_of_words(words: Words | None) -> str | None:
    speakers = Counter(str(word["speaker"]) for word in words or [] if "speaker" in word)
    return speakers.most_common(1)[0][0] if speakers else None


def _number(value: JsonValue) -> float | None:
    """A time in seconds, also where it comes as a text; neither NaN nor nonsense."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with suppress(ValueError, OverflowError):
        number = float(value)
        if math.isfinite(number) and abs(number) < _LONGEST:
            return max(number, 0.0)
    return None


def _rounded(seconds: float) -> float:
    return round(seconds, 3)


def _language(answer: dict[str, JsonValue]) -> str | None:
    metadata = answer.get("metadata")
    said = metadata.get("language") if isinstance(metadata, dict) else None
    return text_of(answer.get("language")) or text_of(said) or text_of(answer.get("language_code"))


def heard_text(text: str, *, start: float, end: float) -> Transcript:
    """The transcript of a model that only writes text."""
    text = clean(text).strip()
    return Transcript((Segment(_rounded(start), _rounded(end), text),) if text else ())
