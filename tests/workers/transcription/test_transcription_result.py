"""What is shown of a job's attempts."""

import json
from datetime import timedelta

from workers.executors.transcription_result import MAX_PROGRESS, ProviderAttempt, failure_of, progress_of, result_of
from workers.failures import Failure
from workers.providers.transcript import Segment, Transcript

WORDS = [{"word": "слово", "start": 0.0, "end": 1.0}] * 5  # a list that is shared is not changed
LONG = Transcript(tuple(Segment(float(at), at + 1.0, "слово " * 5, words=[*WORDS]) for at in range(2_000)))  # type: ignore[list-item]  # dicts of JSON


def test_progress_leaves_out_what_would_be_too_much() -> None:
    attempts = [ProviderAttempt("whisperx", "m", 1, LONG)]

    result, progress = result_of(attempts, seconds=2_000), progress_of(attempts, seconds=2_000)

    assert result is not None
    assert progress is not None
    assert len(json.dumps(result, ensure_ascii=False).encode()) > MAX_PROGRESS
    assert len(json.dumps(progress, ensure_ascii=False).encode()) <= MAX_PROGRESS
    assert progress["text"] == result["text"]
    assert set(progress) == set(result)


def test_a_released_job_waits_only_if_every_provider_asked_for_it() -> None:
    busy = Failure("rate_limited", "later", retry_after=timedelta(seconds=9))
    sooner = Failure("provider_unavailable", "later", retry_after=timedelta(seconds=3))
    down = Failure("provider_unavailable", "refused")

    assert failure_of([ProviderAttempt("a", None, failure=one) for one in (busy, sooner)]).retry_after == timedelta(
        seconds=3
    )
    assert failure_of([ProviderAttempt("a", None, failure=one) for one in (busy, down)]).retry_after is None
