"""Samples of what can be seen on this machine, taken in the background; each source fails alone."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import anyio
from anyio.abc import TaskStatus

from aiserv.fields import time_text

logger = logging.getLogger(__name__)

SOURCE_SECONDS: Final = 2.0

Row: TypeAlias = dict[str, Any]
Sample: TypeAlias = Callable[[], Awaitable[list[Row]]]


class SourceError(Exception):
    """A source cannot be read. The message says why, and may be shown."""


class Sampler:
    """Keeps the last sample of each source. `sources` maps a key of the status to what samples it."""

    def __init__(self, sources: Mapping[str, Sample], interval: timedelta) -> None:
        self._sources = sources
        self._interval = interval.total_seconds()
        self._sampled_at: datetime | None = None
        self.rows: dict[str, list[Row]] = {name: [] for name in sources}
        self.errors: dict[str, str | None] = dict.fromkeys(sources)
        self.sampled = anyio.Event()
        """Set when every source was read, or could not be, for the first time."""

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Sample for ever, with the interval in between."""
        task_status.started()
        while True:
            await self.sample()
            await anyio.sleep(self._interval)

    async def sample(self) -> None:
        """Read every source once, all at the same time: it takes as long as the slowest, and that has a limit."""
        async with anyio.create_task_group() as tasks:
            for name, sample in self._sources.items():
                tasks.start_soon(self._read, name, sample)
        self._sampled_at = datetime.now(UTC)
        self.sampled.set()

    def status(self) -> dict[str, Any]:
        """The members of `GET /status`: `sampled_at`, `errors` by source, and the rows of each source."""
        return {"sampled_at": time_text(self._sampled_at), "errors": dict(self.errors), **self.rows}

    async def _read(self, name: str, sample: Sample) -> None:
        rows: list[Row] = []
        error: str | None = None
        try:
            with anyio.fail_after(SOURCE_SECONDS):
                rows = await sample()
        except TimeoutError:
            error = f"no answer within {SOURCE_SECONDS:g} s"
        except SourceError as refused:
            error = str(refused)
        except Exception:
            logger.exception("the source %s failed", name)
            error = "an error of ours; the log has it"
        # Said once, not with every sample.
        if error and error != self.errors[name]:
            logger.warning("the source %s cannot be read: %s", name, error)
        elif self.errors[name] and not error:
            logger.info("the source %s can be read again", name)
        self.rows[name], self.errors[name] = rows, error
