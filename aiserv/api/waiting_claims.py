"""Claims that wait for work: of those that want the same, one looks for it and the others wait for their turn."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import anyio

from aiserv.database import Database
from aiserv.models import ClaimJobs
from aiserv.queries.base import ShownJob
from aiserv.wake import Pause, TokenBucket, Until, Wake, until

# What claims want: task types and model profiles, none meaning any, and the jobs of one owner alone, if it is named.
Wanted = tuple[frozenset[str], frozenset[str], str | None]
Claim = Callable[[], Awaitable[list[ShownJob]]]


class _Lane:
    """The claims that want the same. Who holds the turn looks; the longest waiting is next."""

    def __init__(self) -> None:
        self.turn = anyio.Lock()
        self.wake = Wake()
        self.looks = TokenBucket()
        self.waiting = 0


class WaitingClaims:
    """Lets claims wait until a job may be theirs: a notification, or the moment that the database named."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lanes: dict[Wanted, _Lane] = {}
        self._stopping = False

    def hear(self, model_profile: str) -> None:
        """Take in a notification of `aiserv_ready` or `aiserv_scheduled`."""
        for (_, profiles, _), lane in self._lanes.items():
            if not profiles or model_profile in profiles:
                lane.wake()

    def look(self) -> None:
        """Let everybody look."""
        for lane in self._lanes.values():
            lane.wake()

    def stop(self) -> None:
        """Let everybody who waits go with nothing."""
        self._stopping = True
        self.look()

    async def first(
        self, wanted: ClaimJobs, owner: str | None, claim: Claim, patience: Until = until
    ) -> list[ShownJob]:
        """What `claim` gets, tried until it gets something or `patience` is over."""
        end = anyio.current_time() + wanted.wait.total_seconds()
        jobs = await claim()
        if jobs or wanted.wait == timedelta(0) or wanted.limit == 0:
            return jobs
        with self._lane(wanted, owner) as lane:
            with patience(end) as turn:
                await lane.turn.acquire()
            if turn.cancelled_caught:
                return []
            try:
                return await self._look(wanted, claim, lane, end, patience)
            finally:
                lane.turn.release()

    async def _look(self, wanted: ClaimJobs, claim: Claim, lane: _Lane, end: float, patience: Until) -> list[ShownJob]:
        pause = Pause()
        while not self._stopping:
            # Before the claim, not after it: a job created in between must not be missed.
            woken = lane.wake.next
            # Never cancelled: it might have claimed already.
            jobs = await claim()
            lane.looks.looked(found=bool(jobs))
            if jobs or anyio.current_time() >= end:
                return jobs
            due_in = pause(await self._database.next_wake(wanted.task_types, wanted.model_profiles))
            with patience(min(end, anyio.current_time() + due_in)):
                await woken.wait()
                await lane.looks()
        return []

    @contextmanager
    def _lane(self, wanted: ClaimJobs, owner: str | None) -> Iterator[_Lane]:
        key = frozenset(wanted.task_types or ()), frozenset(wanted.model_profiles or ()), owner
        lane = self._lanes.setdefault(key, _Lane())
        lane.waiting += 1
        try:
            yield lane
        finally:
            lane.waiting -= 1
            if not lane.waiting:
                del self._lanes[key]
