"""What a transcription job asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from pydantic import JsonValue

from aiserv.values import TranscriptionProvider
from workers.audio.sources import Source
from workers.failures import Failure
from workers.providers.pieces import Wanted

PROVIDERS: Final = get_args(TranscriptionProvider)
MAX_PROMPT: Final = 20_000
MAX_SPEAKERS: Final = 100


@dataclass(frozen=True)
class TranscriptionRequest:
    """The input of a job, checked: which providers are to hear which recording, and how."""

    source: Source
    providers: tuple[str, ...]
    wanted: Wanted

    @classmethod
    def parse(
        cls, job_input: JsonValue, *, providers: Sequence[str], headers: Mapping[str, str]
    ) -> "TranscriptionRequest":
        """Read the input; `providers` are those of its profile. Null is as good as left out.

        Raises `Failure` with `invalid_input` that names the field.
        """
        if not isinstance(job_input, dict):
            raise Failure("invalid_input", "input: must be an object")
        least, most = (_count(job_input, name) for name in ("min_speakers", "max_speakers"))
        if least is not None and most is not None and least > most:
            raise Failure("invalid_input", "input.min_speakers: must not be more than max_speakers")
        diarize = job_input.get("diarize")
        if diarize is not None and not isinstance(diarize, bool):
            raise Failure("invalid_input", "input.diarize: must be true or false")
        return cls(
            source=Source.parse(job_input),
            providers=_providers(job_input, providers),
            wanted=Wanted(
                language=_text(job_input, "language", 50),
                prompt=_text(job_input, "prompt", MAX_PROMPT),
                diarize=diarize,
                min_speakers=least,
                max_speakers=most,
                headers=headers,
            ),
        )


def _providers(job_input: Mapping[str, JsonValue], of_profile: Sequence[str]) -> tuple[str, ...]:
    named = job_input.get("providers")
    if named is None:
        return tuple(of_profile)
    expected = f"must be a list of one or more of {', '.join(PROVIDERS)}"
    if not isinstance(named, list) or not named:
        raise Failure("invalid_input", f"input.providers: {expected}")
    providers = tuple(dict.fromkeys(name for name in named if isinstance(name, str) and name in PROVIDERS))
    if len(providers) < len(named):
        raise Failure("invalid_input", f"input.providers: {expected}, each once")
    return providers


def _text(job_input: Mapping[str, JsonValue], name: str, longest: int) -> str | None:
    value = job_input.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or (not value.isprintable() and "\n" not in value):
        raise Failure("invalid_input", f"input.{name}: must be a text of at most {longest} characters")
    return value.strip() or None


def _count(job_input: Mapping[str, JsonValue], name: str) -> int | None:
    value = job_input.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SPEAKERS:
        raise Failure("invalid_input", f"input.{name}: must be an integer from 1 to {MAX_SPEAKERS}")
    return value
