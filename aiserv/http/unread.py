"""Answers that their clients do not take as fast as they come: each has its time, and all of them a size."""

import asyncio
from collections.abc import Callable
from typing import Final

MOST: Final = 256 * 1024**2  # bytes


class Unread:
    """Gives up who takes longer than `seconds`, and one more for each `slowest` bytes.

    Once all together leave too many bytes, those that are slow for the longest go first.
    """

    def __init__(self, seconds: float, slowest: float) -> None:
        self._seconds = seconds
        self._slowest = slowest
        self._held: dict[object, tuple[int, Callable[[], None], asyncio.TimerHandle]] = {}
        self._size = 0

    def add(self, who: object, size: int, give_up: Callable[[], None]) -> None:
        """So many bytes wait for this one. `give_up` is called unless it is discarded in time."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._seconds + size / self._slowest, self._give_up, who)
        self._held[who] = size, give_up, timer
        self._size += size
        while self._size > MOST and len(self._held) > 1:
            # Of those with more than their share: a few bytes would make no room.
            share = self._size / len(self._held)
            self._give_up(next(one for one, (held, _, _) in self._held.items() if held >= share))

    def discard(self, who: object) -> None:
        """It has taken all, or has gone."""
        if who in self._held:
            size, _, timer = self._held.pop(who)
            self._size -= size
            timer.cancel()

    def _give_up(self, who: object) -> None:
        _, give_up, _ = self._held[who]
        self.discard(who)
        give_up()
