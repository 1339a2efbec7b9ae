"""What has finished lately, for those who listen: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import anyio

from aiserv.database import Database, DatabaseError, is_unavailable
from aiserv.filters import WatchEvents
from aiserv.listener import notified_ids
from aiserv.queries.jobs import Summary
from aiserv.wake import Until, Wake, until

logger = logging.getLogger(__name__)

KEPT: Final = 10_000
PIECE: Final = 500
COMMENT_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 1.0
# An event without an id: `Last-Event-ID` stays what it was before it.
RESYNC: Final = "event: resync\ndata: {}\n\n"
COMMENT: Final = ": still here\n\n"


@dataclass(slots=True)
class _Event:
    number: int
    job_id: str
    job: Summary | None = None


class Events:
    """The last jobs that reached a final state, as ids; they are read when somebody wants to hear of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._instance = uuid4().hex
        self._kept: deque[_Event] = deque(maxlen=KEPT)
        self._last = 0
        self._wake = Wake()
        self._reading = anyio.Lock()
        self._failures = 0
        self._stopped = anyio.Event()

    def hear(self, payload: str) -> None:
        """Take in a notification of `aiserv_finished`: ids, comma-separated."""
        for job_id in notified_ids(payload):
            self._last += 1
            self._kept.append(_Event(self._last, job_id))
        self._wake()

    def missed(self) -> None:
        """Forget everything: notifications were lost, and nobody may believe to have heard of all."""
        self._kept.clear()
        self._last += 1
        self._wake()

    def stop(self) -> None:
        """End all streams."""
        self._stopped.set()
        self._wake()

    def position(self, last_event_id: str | None) -> int:
        """Where a stream begins: behind this event if it is one of ours, else where it must be told to look around."""
        if last_event_id is None:
            return self._last
        instance, _, number = last_event_id.rpartition("-")
        known = instance == self._instance and number.isascii() and number.isdecimal() and len(number) <= 18  # noqa: PLR2004 - fits
        return int(number) if known and int(number) <= self._last else -1

    async def stream(
        self,
        watched: WatchEvents,
        position: int,
        may_listen: Callable[[], bool] = lambda: True,
        patience: Until = until,
    ) -> AsyncIterator[str]:
        """The text of events behind this position that match, as they come; a comment now and then.

        It ends once `may_listen` says no: a token may be taken away while its stream goes on.
        """
        yield COMMENT
        while not self._stopped.is_set() and may_listen():
            woken = self._wake.next
            if position < self._first - 1:
                position = self._last
                yield RESYNC
            elif position < self._last:
                news = self._behind(position)
                if not await self._read(news):
                    yield COMMENT
                    # No shorter for what finishes meanwhile: on a busy server it would be none.
                    with patience(anyio.current_time() + RETRY_SECONDS):
                        await self._stopped.wait()
                    continue
                position = news[-1].number
                for event in news:
                    if event.job and _matches(watched, event.job):
                        yield f"event: job\nid: {self._instance}-{event.number}\ndata: {event.job.text}\n\n"
            else:
                with patience(anyio.current_time() + COMMENT_SECONDS) as pause:
                    await woken.wait()
                if pause.cancelled_caught:
                    yield COMMENT

    @property
    def _first(self) -> int:
        return self._kept[0].number if self._kept else self._last + 1

    def _behind(self, position: int) -> list[_Event]:
        start = max(position + 1 - self._first, 0)
        return [self._kept[index] for index in range(start, min(start + PIECE, len(self._kept)))]

    async def _read(self, events: list[_Event]) -> bool:
        """Read the jobs of the events; whether PostgreSQL was there for it. Raises DatabaseError for anything else."""
        failures = self._failures
        # One reads for all who listen; the others find it read, or that it failed, as theirs would one after the other.
        async with self._reading:
            unread = [UUID(event.job_id) for event in events if event.job is None]
            if unread and self._failures > failures:
                return False
            try:
                found = {str(job.id): job for job in await self._database.summaries(unread)} if unread else {}
            except DatabaseError as error:
                if not is_unavailable(error):
                    raise
                logger.warning("events could not be read, trying again: %s", type(error).__name__)
                self._failures += 1
                return False
            for event in events:
                event.job = event.job or found.get(event.job_id)
            return True


def _matches(watched: WatchEvents, job: Summary) -> bool:
    conditions = (
        (watched.id, job.id),
        (watched.owner_service, job.owner_service),
        (watched.task_type, job.task_type),
        (watched.model_profile, job.model_profile),
        (watched.status or ["completed", "failed", "cancelled"], job.status),
        (watched.batch_id, job.batch_id),
    )
    return all(wanted is None or value in wanted for wanted, value in conditions)
