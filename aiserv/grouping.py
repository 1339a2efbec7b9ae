"""Group commit: what arrives while a statement is in flight travels together in the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

import anyio
from anyio.abc import TaskGroup

from aiserv.problems import Problem, unavailable
from aiserv.wake import Wake

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

# For a place to travel alone: as long as others wait for a connection.
PATIENCE_SECONDS: Final = 4
# Of one group of requests: so many that the commit costs little, and so few that nobody waits long for neighbours.
MAX_ITEMS: Final = 200
MAX_CHARACTERS: Final = 4 * 1024 * 1024


class _Member(NamedTuple, Generic[Item, Outcome]):
    """An item on its way, and what becomes of it: anyio has no future, and an event and fields beside it cost more."""

    item: Item
    outcome: asyncio.Future[Outcome]


class Grouping(Generic[Item, Outcome]):
    """Sends items in groups, `lanes` of them at a time: one commit and one notification for all that came meanwhile.

    There is no timer: what finds a free lane leaves at once. `send(items, alone)` returns an outcome for each
    item, in order, or why it is refused, or None for one that must travel alone, beside the groups, because it may take
    long: another transaction has what it `waits_for`. It does so in one of `places_alone`, which several groupings may
    share, for each of them holds a connection. When `send`
    raises for a group, and `is_of_one` says that it may be the fault of one member and that nothing has happened, or
    nothing that a repeat would do twice, each travels alone; otherwise all of them get the error, and so does all that
    waits behind them: it would fare no better, and its caller should hear so while it is there.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item], bool], Awaitable[Sequence[Outcome | Problem | None]]],
        places_alone: anyio.CapacityLimiter,
        *,
        size: Callable[[Item], int],
        is_of_one: Callable[[Exception], bool],
        waits_for: str,
        lanes: int = 1,
    ) -> None:
        self._send = send
        self._places_alone = places_alone
        self._size = size
        self._is_of_one = is_of_one
        self._waits_for = waits_for
        self._lanes = lanes
        self._waiting: deque[_Member[Item, Outcome]] = deque()
        self._wake = Wake()

    async def __call__(self, item: Item) -> Outcome:
        """What became of the item. Raises why it was refused, what `send` raised, or 503 if it could not travel alone.

        A caller that is cancelled takes the item along if it has not left yet.
        """
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Member(item, outcome))
        self._wake()
        return await outcome

    async def run(self) -> None:
        """Send what arrives, for ever."""
        async with anyio.create_task_group() as tasks:
            for _ in range(self._lanes):
                tasks.start_soon(self._run_lane, tasks)

    async def _run_lane(self, tasks: TaskGroup) -> None:
        while True:
            woken = self._wake.next
            if group := self._next_group():
                for member in await self._sent(group):
                    tasks.start_soon(self._send_alone, member)
            else:
                await woken.wait()

    def _next_group(self) -> list[_Member[Item, Outcome]]:
        group: list[_Member[Item, Outcome]] = []
        size = 0
        while self._waiting and len(group) < MAX_ITEMS:
            if self._waiting[0].outcome.cancelled():
                self._waiting.popleft()
                continue
            size += self._size(self._waiting[0].item)
            if group and size > MAX_CHARACTERS:
                break
            group.append(self._waiting.popleft())
        return group

    async def _send_alone(self, member: _Member[Item, Outcome]) -> None:
        with anyio.move_on_after(PATIENCE_SECONDS) as patience:
            await self._places_alone.acquire()
        if patience.cancelled_caught:
            self._tell(member, None)
            return
        try:
            await self._sent([member], alone=True)
        finally:
            self._places_alone.release()

    async def _sent(self, group: list[_Member[Item, Outcome]], *, alone: bool = False) -> list[_Member[Item, Outcome]]:
        """Send the group and tell its members; those are left that must travel alone."""
        try:
            outcomes = await self._send([member.item for member in group], alone)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must know
            if not alone and self._is_of_one(error):
                return group
            behind = [] if alone else list(self._waiting)
            for member in (*group, *behind):
                if not member.outcome.done():
                    member.outcome.set_exception(error)
            if behind:
                self._waiting.clear()
            return []
        left = []
        for member, outcome in zip(group, outcomes, strict=True):
            if outcome is None and not alone:
                left.append(member)
            else:
                self._tell(member, outcome)
        return left

    def _tell(self, member: _Member[Item, Outcome], outcome: Outcome | Problem | None) -> None:
        if member.outcome.done():
            return
        if outcome is None:
            outcome = unavailable(f"another transaction holds {self._waits_for}")
        if isinstance(outcome, Problem):
            member.outcome.set_exception(outcome)
        else:
            member.outcome.set_result(outcome)
