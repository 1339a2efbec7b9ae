"""A value that is dear to get: callers share it for some seconds, and never get it twice at once."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

Value = TypeVar("Value")


class Shared(Generic[Value]):
    """Calls `get` for the first caller; others, at once or within `seconds`, are given the same value.

    A caller that is cancelled takes nothing from the others: the next of them gets the value.
    """

    def __init__(
        self, get: Callable[[], Awaitable[Value]], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._get = get
        self._seconds = seconds
        self._clock = clock
        self._turn = anyio.Lock()
        self._kept: tuple[Value, float] | None = None

    async def __call__(self) -> Value:
        async with self._turn:
            if self._kept is None or self._clock() >= self._kept[1]:
                value = await self._get()
                self._kept = value, self._clock() + self._seconds
            return self._kept[0]
