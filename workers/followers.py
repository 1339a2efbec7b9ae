"""The tasks that run attempts: the pattern Leader/Followers of Schmidt and others (2000)."""

import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import anyio
from anyio.abc import TaskGroup

from workers.attempt import Attempt

STRETCH_SECONDS: Final = 0.005


class Followers:
    """Has `run` run attempts one after another in one task, and calls another task whenever that waits for something.

    So jobs that wait for a provider have a task each, and a thousand tiny ones a few between them. `freed` hears of
    each slot that becomes free, and when no attempt is left to be begun.
    """

    def __init__(self, run: Callable[[Iterator[Attempt]], Awaitable[None]], freed: Callable[[], None]) -> None:
        self._run = run
        self._freed = freed
        # Claimed, and not begun; executing or still to be begun. What is being settled needs no slot.
        self.waiting: deque[Attempt] = deque()
        self.busy = 0
        self._is_called = False
        # What the one task waits for that has nothing to do, if there is one.
        self._idle: anyio.Event | None = None
        self._is_over = False

    def begin(self, attempts: list[Attempt], tasks: TaskGroup) -> None:
        """Have these run, too."""
        self.waiting.extend(attempts)
        self.busy += len(attempts)
        self._call(tasks)

    def end(self) -> None:
        """Keep no task for what may come."""
        self._is_over = True
        self._wake()

    def _call(self, tasks: TaskGroup) -> None:
        if self.waiting and not self._is_called:
            self._is_called = True
            if not self._wake():
                tasks.start_soon(self._follow, tasks)

    def _wake(self) -> bool:
        """Whether a task was idle."""
        if self._idle is None:
            return False
        self._idle.set()
        self._idle = None
        return True

    async def _follow(self, tasks: TaskGroup) -> None:
        """Run what waits. While there is more, a task stands ready, to lead as soon as this one waits for something.

        One stays when there is nothing: to wake a task takes a quarter of what it takes to make one.
        """
        while True:
            self._is_called = False
            await self._run(self._stretch(tasks))
            if self._idle or self._is_over:
                self._call(tasks)
                return
            self._idle = called = anyio.Event()
            self._call(tasks)
            await called.wait()

    def _stretch(self, tasks: TaskGroup) -> Iterator[Attempt]:
        """Attempts to be run by one task, not for long: renewals and answers of PostgreSQL want their turn."""
        until = time.monotonic() + STRETCH_SECONDS
        while self.waiting and (now := time.monotonic()) < until:
            attempt = self.waiting.popleft()
            if not self.waiting:
                # From here on a few free slots are enough to ask for.
                self._freed()
            self._call(tasks)
            attempt.started = now
            try:
                yield attempt
            finally:
                self.busy -= 1
                self._freed()
