"""Waking: telling a task that waits to look again."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Final

import anyio

# A scope for a wait: it ends at the moment given, and earlier when nobody is there any more to hear of it.
Until = Callable[[float], AbstractContextManager[anyio.CancelScope]]


def until(deadline: float) -> anyio.CancelScope:
    """A scope for a wait of somebody who stays."""
    return anyio.CancelScope(deadline=deadline)


class Wake:
    """A repeatable event: take `next` before you look for work, wait for it if there was none."""

    def __init__(self) -> None:
        self._next: anyio.Event | None = None

    @property
    def next(self) -> anyio.Event:
        """What the next wake sets."""
        self._next = self._next or anyio.Event()
        return self._next

    def __call__(self, _payload: str | None = None) -> None:
        if self._next:
            self._next.set()
            self._next = None


# Two looks a minute keep a lost notification from delaying anything for longer than this.
LOOK_SECONDS: Final = 30.0
SHORTEST_SECONDS: Final = 0.001
# The longest rest between two pieces of the same work. Where processors are short, a piece takes long, which slows it
# enough: resting as long, too, it would fall behind those who make work for it.
REST_SECONDS: Final = 0.05


def became_due(due_in: float | None, took: float) -> bool:
    """Whether it became due only during the look, which took so many seconds."""
    return due_in is not None and -took < due_in <= 0


class Pause:
    """How long to sleep between two looks, given in how many seconds the next thing is due."""

    def __init__(self) -> None:
        self._shortest = SHORTEST_SECONDS

    def __call__(self, due_in: float | None, took: float = 0.0) -> float:
        """Seconds to sleep: until it is due, at most half a minute; ever longer while it is overdue and stays so.

        Overdue is what somebody else's transaction holds, such as a lease that has run out. What became due only during
        the look, which took so many seconds, is more of the same work: it rests as long, but not for long.
        """
        if became_due(due_in, took):
            return min(took, REST_SECONDS)
        if due_in is None or due_in > 0:
            self._shortest = SHORTEST_SECONDS
        else:
            self._shortest = min(self._shortest * 2, 1.0)
        return min(max(LOOK_SECONDS if due_in is None else due_in, self._shortest), LOOK_SECONDS)


# Looks that find nothing: so many in a row are free, and then so many a second.
FREE_LOOKS: Final = 20.0
LOOKS_A_SECOND: Final = 10.0


class TokenBucket:
    """Keeps a storm of notifications from becoming a storm of statements: anybody may notify, as often as they like.

    Each look takes a token (https://en.wikipedia.org/wiki/Token_bucket). One that found something earns two more: for
    the next look, and for the one when that is done.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._tokens = FREE_LOOKS
        self._at = clock()

    def looked(self, *, found: bool) -> None:
        """Count a look."""
        self._refill()
        self._tokens = min(self._tokens + (2 if found else -1), FREE_LOOKS)

    async def __call__(self) -> None:
        """Wait until another look is due: not at all, or for a tenth of a second."""
        self._refill()
        if self._tokens < 0:
            await self._sleep(-self._tokens / LOOKS_A_SECOND)

    def _refill(self) -> None:
        now = self._clock()
        self._tokens = min(self._tokens + (now - self._at) * LOOKS_A_SECOND, FREE_LOOKS)
        self._at = now
