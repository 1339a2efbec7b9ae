"""What may be said about a failed attempt, and what becomes of its job."""

import math
from datetime import timedelta

import pytest

from workers.failures import FATES, MAX_MESSAGE, Failure, clean, clean_json, redact


@pytest.mark.parametrize("category", ["timeout", "provider_error", "invalid_response", "internal"])
def test_another_attempt_may_do_better_after(category: str) -> None:
    failure = Failure(category, "no luck")

    assert failure.retryable
    assert not failure.provider_trouble


@pytest.mark.parametrize("category", ["rate_limited", "provider_unavailable", "unauthorized", "model_not_found"])
def test_the_trouble_of_the_provider_is_not_the_fault_of_the_job(category: str) -> None:
    failure = Failure(category, "later")

    assert failure.provider_trouble
    assert not failure.retryable


@pytest.mark.parametrize(
    "category",
    [
        "context_length_exceeded",
        "content_filter",
        "output_truncated",
        "invalid_input",
        "audio_unavailable",
        "unsupported_audio",
    ],
)
def test_another_attempt_would_end_the_same_way_after(category: str) -> None:
    failure = Failure(category, "never")

    assert not failure.retryable
    assert not failure.provider_trouble


def test_a_category_that_the_contract_does_not_know_is_a_bug() -> None:
    with pytest.raises(KeyError):
        Failure("bad_luck", "no such category")

    assert "bad_luck" not in FATES


def test_secrets_are_removed_wherever_they_occur() -> None:
    text = "got key-1, wanted key-1-long; key-1"

    assert redact(text, ["key-1", "key-1-long"]) == "got [redacted], wanted [redacted]; [redacted]"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("bearer token: hunter2 refused", "bearer token [redacted] refused"),
        ("at http://user:hunter2@host/v1", "at http://[redacted]@host/v1"),
        ("mail someone@example.com", "mail someone@example.com"),
    ],
)
def test_tokens_that_nobody_configured_are_removed_too(text: str, redacted: str) -> None:
    assert redact(text, []) == redacted


def test_an_empty_secret_removes_nothing() -> None:
    assert redact("fine", [""]) == "fine"


def test_a_presentable_message_is_cut_after_its_secrets_are_gone() -> None:
    secret = "s" * 100
    failure = Failure(
        "rate_limited",
        "x" * (MAX_MESSAGE - 50) + secret,
        usage={"total_tokens": 1},
        retry_after=timedelta(seconds=3),
    )

    shown = failure.presentable([secret])

    assert len(shown.message) <= MAX_MESSAGE
    assert "s" not in shown.message.removesuffix("[redacted]")
    assert (shown.usage, shown.retry_after) == (failure.usage, failure.retry_after)


def test_nul_and_lone_surrogates_are_replaced_and_the_rest_is_kept() -> None:
    assert clean("a\x00b\ud800c\udfffd 😀 \ufffe") == "a\ufffdb\ufffdc\ufffdd 😀 \ufffe"


def test_a_clean_json_value_can_be_stored() -> None:
    cleaned = clean_json({"k\x00": ["\ud83d", 1, 1.5, True, None, {"deep": math.nan}], "big": math.inf})

    assert cleaned == {"k\ufffd": ["\ufffd", 1, 1.5, True, None, {"deep": None}], "big": None}
