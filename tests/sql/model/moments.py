"""Times that PostgreSQL chooses: a prediction names them before they are known, and the answer makes them known."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

NO_TIME = timedelta(0)


@dataclass
class Moment:
    """A reading of the clock during the call, or one that lies `low` to `high` after it."""

    low: timedelta = NO_TIME
    high: timedelta = NO_TIME
    value: datetime | None = None

    def __add__(self, later: timedelta) -> "Later":
        return Later(self, later)


@dataclass
class Later:
    """So long after a moment."""

    moment: Moment
    by: timedelta


Time = datetime | Moment | Later


def known(time: Any) -> Any:  # noqa: ANN401  # a value of any column
    """The time itself where the answer has shown it; other values as they are."""
    if isinstance(time, Moment):
        assert time.value is not None, "no answer has shown this time"
        return time.value
    if isinstance(time, Later):
        return known(time.moment) + time.by
    return time


def learn(time: Any, shown: Any, window: tuple[datetime, datetime]) -> None:  # noqa: ANN401  # as above
    """Take an unknown time from what was shown, if it lies within the call."""
    if isinstance(time, Later):
        learn(time.moment, shown - time.by, window)
    elif isinstance(time, Moment) and time.value is None and isinstance(shown, datetime):
        before, after = window
        assert before + time.low <= shown <= after + time.high, f"{shown} is not within the call: {window}"
        time.value = shown


def older_id(identifier: UUID, by: timedelta) -> UUID:
    """The UUIDv7 that would have been made so much earlier."""
    return UUID(int=identifier.int - (round(by / timedelta(milliseconds=1)) << 80))
