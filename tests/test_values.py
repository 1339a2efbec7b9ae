"""The values of settings: durations in Go's notation."""

from datetime import timedelta

import pytest

from aiserv.values import go_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds", "printed"),
    [
        ("0", 0, "0s"),
        ("90", 90, "1m30s"),
        ("1.5", 1.5, "1.5s"),
        ("100us", 0.0001, "100µs"),
        ("1500µs", 0.0015, "1.5ms"),
        ("300ms", 0.3, "300ms"),
        ("2s", 2, "2s"),
        ("5m", 300, "5m0s"),
        ("1h30m", 5400, "1h30m0s"),
        ("1.5h", 5400, "1h30m0s"),
        ("720h", 2_592_000, "720h0m0s"),
        ("1h0.25s", 3600.25, "1h0m0.25s"),
        ("-2m", -120, "-2m0s"),
    ],
)
def test_durations_are_read_and_printed_as_go_does(text: str, seconds: float, printed: str) -> None:
    duration = parse_duration(text)

    assert duration == timedelta(seconds=seconds)
    assert go_duration(duration) == printed


@pytest.mark.parametrize(
    "text",
    ["", " ", "5 m", "1h 30m", "1d", "1w", "1mm", "5M", "1e3", "inf", "nan", "s", "1_0s", "٣s"],
)
def test_other_notations_of_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)
