"""What a worker remembers of its work, for its status."""

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from aiserv.database import DatabaseError
from workers.attempt import End

# SQLSTATE connection_failure: what a driver says that could not ask PostgreSQL.
CONNECTION_FAILURE: Final = "08006"


@dataclass
class Record:
    """How attempts ended since the start, and the latest trouble: an error category or an SQLSTATE, never a text."""

    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.monotonic)  # the same, for how long ago: clocks are set
    ends: Counter[End] = field(default_factory=Counter)
    last_claim_at: datetime | None = None
    last_error: str | None = None

    def database_error(self, error: DatabaseError) -> str:
        """Remember the error, and give what the log may have of it: messages may repeat a value."""
        self.last_error = sqlstate(error)
        return f"{type(error).__name__} {self.last_error}"


def sqlstate(error: DatabaseError) -> str:
    """What PostgreSQL said, or that it could not be asked."""
    return error.sqlstate or CONNECTION_FAILURE
