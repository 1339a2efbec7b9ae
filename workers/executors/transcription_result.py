"""The attempts of a transcription job, one for each provider, and what becomes of the job."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from pydantic import JsonValue

from workers.failures import Failure
from workers.providers.transcript import Transcript

MAX_PROGRESS: Final = 1024 * 1024
# How long a job waits for a worker that has its providers.
NOT_SET_UP: Final = timedelta(seconds=10)


@dataclass(frozen=True)
class ProviderAttempt:
    """What one provider made of the recording: a transcript, a failure, or neither where it is not set up.

    `paused` says that the failure is an earlier one: the provider was not called.
    """

    provider: str
    model: str | None
    duration_ms: int = 0
    transcript: Transcript | None = None
    failure: Failure | None = None
    paused: bool = False

    @property
    def status(self) -> Literal["completed", "failed", "skipped"]:
        if self.transcript is not None:
            return "completed"
        return "skipped" if self.failure is None else "failed"

    def document(self, *, with_segments: bool = True) -> dict[str, JsonValue]:
        """As it stands in `attempts`."""
        heard = self.transcript
        error = str(self.failure) if self.failure else None if heard else f"{self.provider} is not set up"
        shown: dict[str, JsonValue] = {
            "provider": self.provider,
            "model": heard.model or self.model if heard else self.model,
            "status": self.status,
            "text": heard.text if heard else None,
            "segments": [said.document() for said in heard.segments] if heard and with_segments else [],
            "duration_ms": self.duration_ms,
            "error": error,
        }
        if heard and heard.warning:
            shown["warning"] = heard.warning
        return shown


def progress_of(attempts: Sequence[ProviderAttempt], *, seconds: float) -> dict[str, JsonValue] | None:
    """The result as far as it is known, with as much of it as `progress` may hold."""
    for with_segments, with_attempts in ((True, True), (True, False), (False, False)):
        shown = result_of(attempts, seconds=seconds, with_segments=with_segments, with_attempts=with_attempts)
        if shown is None or len(json.dumps(shown, ensure_ascii=False).encode()) <= MAX_PROGRESS:
            return shown
    return None


def result_of(
    attempts: Sequence[ProviderAttempt], *, seconds: float, with_segments: bool = True, with_attempts: bool = True
) -> dict[str, JsonValue] | None:
    """The result of the job, which is that of the first success; None without any.

    `duration` is the length of the recording in seconds. Segments can be left out: all, or those of the attempts alone.
    """
    for attempt in attempts:
        if attempt.transcript is not None:
            shown = attempt.document(with_segments=with_segments)
            return {
                "text": shown["text"],
                "language": attempt.transcript.language,
                "segments": shown["segments"],
                "provider": attempt.provider,
                "model": shown["model"],
                "duration_ms": attempt.duration_ms,
                "duration": round(seconds, 3),
                "attempts": [one.document(with_segments=with_segments and with_attempts) for one in attempts],
            }
    return None


def usage_of(attempts: Sequence[ProviderAttempt]) -> dict[str, int] | None:
    """The tokens that all of them spent."""
    total: Counter[str] = Counter()
    for attempt in attempts:
        for spent in (attempt.transcript, attempt.failure):
            total.update(spent.usage or {} if spent else {})
    return dict(total) or None


def troubles_of(attempts: Sequence[ProviderAttempt]) -> dict[str, Failure]:
    """The failures of the providers that were found in trouble, by their names."""
    return {
        attempt.provider: attempt.failure
        for attempt in attempts
        if attempt.failure is not None and attempt.failure.provider_trouble and not attempt.paused
    }


def failure_of(attempts: Sequence[ProviderAttempt]) -> Failure:
    """How a job ends that no provider could transcribe.

    If all of them were in trouble, the job is not to blame and is released; else the first that was not decides.
    """
    failures = [attempt.failure for attempt in attempts if attempt.failure is not None]
    said = "; ".join(f"{attempt.provider}: {attempt.document()['error']}" for attempt in attempts)
    if not failures:
        return Failure("provider_unavailable", said, retry_after=NOT_SET_UP, troubles={})
    blamed = next((failure for failure in failures if not failure.provider_trouble), None)
    if blamed is not None:
        return Failure(blamed.category, said, usage=usage_of(attempts), troubles=troubles_of(attempts))
    waits = [failure.retry_after for failure in failures if failure.retry_after is not None]
    # The first of them to return can do the job.
    wait = min(waits) if len(waits) == len(failures) else None
    return Failure(
        failures[0].category, said, usage=usage_of(attempts), retry_after=wait, troubles=troubles_of(attempts)
    )
