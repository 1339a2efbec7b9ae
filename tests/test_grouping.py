"""What waits for a statement goes in the next one."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest

from aiserv import grouping
from aiserv.grouping import Grouping
from aiserv.problems import Problem
from tests.waiting import SOON


class Road:
    """Where groups leave: keeps those that it let through, and holds the next until it is told."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.left = anyio.Event()
        self.clear = anyio.Event()
        self.answer: Callable[[Sequence[str]], list[str | None]] = lambda items: [item.upper() for item in items]

    async def send(self, items: Sequence[str], alone: bool = False) -> list[str | None]:  # noqa: ARG002, FBT001, FBT002 - as Grouping calls it
        self.groups.append(list(items))
        self.left.set()
        await self.clear.wait()
        return self.answer(items)


@asynccontextmanager
async def grouped(road: Road, lanes: int = 1) -> AsyncIterator[Grouping[str, str]]:
    group = Grouping[str, str](
        road.send,
        anyio.CapacityLimiter(1),
        size=len,
        is_of_one=lambda error: isinstance(error, ValueError),
        waits_for="the key",
        lanes=lanes,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        with anyio.fail_after(SOON):
            yield group
        tasks.cancel_scope.cancel()


async def together(group: Grouping[str, str], road: Road, items: list[str]) -> dict[str, str | Exception | None]:
    """What becomes of items that arrive while another one is on its way."""
    outcomes: dict[str, str | Exception | None] = {}

    async def one(item: str) -> None:
        try:
            outcomes[item] = await group(item)
        except Exception as error:  # noqa: BLE001 - what is asked for
            outcomes[item] = error

    async with anyio.create_task_group() as callers:
        callers.start_soon(one, "first")
        await road.left.wait()
        for item in items:
            callers.start_soon(one, item)
        await anyio.wait_all_tasks_blocked()
        road.clear.set()
    return outcomes


async def test_what_arrives_while_one_is_on_its_way_travels_together() -> None:
    road = Road()
    async with grouped(road) as group:
        outcomes = await together(group, road, ["a", "b", "c"])

    assert road.groups == [["first"], ["a", "b", "c"]]
    assert outcomes == {"first": "FIRST", "a": "A", "b": "B", "c": "C"}


async def test_what_finds_a_free_lane_leaves_at_once_and_the_rest_goes_together() -> None:
    road = Road()
    async with grouped(road, lanes=2) as group, anyio.create_task_group() as callers:
        for item in ("first", "second", "third", "fourth"):
            callers.start_soon(group, item)
            await anyio.wait_all_tasks_blocked()
        assert road.groups == [["first"], ["second"]]
        road.clear.set()

    assert road.groups == [["first"], ["second"], ["third", "fourth"]]


async def test_what_comes_at_once_goes_together_whatever_lanes_are_free() -> None:
    road = Road()
    async with grouped(road, lanes=2) as group, anyio.create_task_group() as callers:
        for item in "abc":
            callers.start_soon(group, item)
        await anyio.wait_all_tasks_blocked()
        assert road.groups == [["a", "b", "c"]]
        road.clear.set()


async def test_what_finds_nothing_on_its_way_leaves_at_once() -> None:
    road = Road()
    road.clear.set()
    async with grouped(road) as group:
        assert [await group(item) for item in "abc"] == ["A", "B", "C"]

    assert road.groups == [["a"], ["b"], ["c"]]


async def test_a_group_is_bounded_in_number_and_in_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MAX_ITEMS", 3)
    monkeypatch.setattr(grouping, "MAX_CHARACTERS", 4)
    road = Road()
    async with grouped(road) as group:
        await together(group, road, ["a", "b", "c", "d", "eeee", "ffffff", "g"])

    assert road.groups == [["first"], ["a", "b", "c"], ["d"], ["eeee"], ["ffffff"], ["g"]]


async def test_a_group_that_one_of_it_spoils_travels_one_by_one() -> None:
    road = Road()

    def spoiled(items: Sequence[str]) -> list[str | None]:
        if "bad" in items:
            raise ValueError(items)
        return [item.upper() for item in items]

    road.answer = spoiled
    async with grouped(road) as group:
        outcomes = await together(group, road, ["a", "bad", "b"])

    assert isinstance(outcomes.pop("bad"), ValueError)
    assert outcomes == {"first": "FIRST", "a": "A", "b": "B"}


async def test_an_error_of_unknown_outcome_is_told_to_all_and_nothing_is_sent_again() -> None:
    road = Road()

    def lost(items: Sequence[str]) -> list[str | None]:
        if items == ["first"]:
            return ["FIRST"]
        raise ConnectionError

    road.answer = lost
    async with grouped(road) as group:
        outcomes = await together(group, road, ["a", "b"])

    assert outcomes.pop("first") == "FIRST"
    assert {type(outcome) for outcome in outcomes.values()} == {ConnectionError}
    assert road.groups == [["first"], ["a", "b"]]


async def test_what_waits_behind_a_lost_group_hears_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "MAX_ITEMS", 1)
    road = Road()

    def lost(items: Sequence[str]) -> list[str | None]:
        raise ConnectionError

    road.answer = lost
    async with grouped(road) as group:
        outcomes = await together(group, road, ["a", "b", "c"])
        road.answer = lambda items: [item.upper() for item in items]
        assert await group("later") == "LATER"

    assert {name: type(outcome) for name, outcome in outcomes.items()} == dict.fromkeys(
        ["first", *"abc"], ConnectionError
    )
    assert road.groups == [["first"], ["later"]]


async def test_one_that_must_travel_alone_holds_up_nobody_and_groupings_share_the_places() -> None:
    patience = anyio.Event()
    alone_now: set[str] = set()
    alone_most = 0

    async def send(items: Sequence[str], alone: bool) -> list[str | None]:  # noqa: FBT001 - as Grouping calls it
        nonlocal alone_most
        if not alone:
            return [None if "slow" in item else item.upper() for item in items]
        alone_now.update(items)
        alone_most = max(alone_most, len(alone_now))
        await patience.wait()
        alone_now.difference_update(items)
        return [None if "too slow" in item else item.upper() for item in items]

    outcomes: dict[str, str | int] = {}
    places = anyio.CapacityLimiter(2)
    group, other = (
        Grouping[str, str](send, places, size=len, is_of_one=lambda _: False, waits_for="the key") for _ in range(2)
    )

    async def one(group: Grouping[str, str], item: str) -> None:
        try:
            outcomes[item] = await group(item)
        except Problem as refused:
            outcomes[item] = refused.status

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        tasks.start_soon(other.run)
        with anyio.fail_after(SOON):
            async with anyio.create_task_group() as callers:
                for item in ("slow 1", "slow 2", "slow 3", "too slow"):
                    callers.start_soon(one, other if item == "slow 2" else group, item)
                    await anyio.wait_all_tasks_blocked()
                assert await group("later") == "LATER"
                patience.set()
        tasks.cancel_scope.cancel()

    assert outcomes == {"slow 1": "SLOW 1", "slow 2": "SLOW 2", "slow 3": "SLOW 3", "too slow": 503}
    assert alone_most == 2


async def test_one_that_finds_no_place_to_travel_alone_hears_so_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "PATIENCE_SECONDS", 0.01)
    places = anyio.CapacityLimiter(1)
    await places.acquire()
    sent: list[bool] = []

    async def send(items: Sequence[str], alone: bool) -> list[str | None]:  # noqa: FBT001 - as Grouping calls it
        sent.append(alone)
        return [None for _ in items]

    group = Grouping[str, str](send, places, size=len, is_of_one=lambda _: False, waits_for="the key")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(group.run)
        with anyio.fail_after(SOON):
            with pytest.raises(Problem, match="another transaction holds the key") as refused:
                await group("slow")
        tasks.cancel_scope.cancel()

    assert (sent, refused.value.status) == ([False], 503)


async def test_a_caller_that_goes_takes_its_item_along_and_nobody_elses() -> None:
    road = Road()
    async with grouped(road) as group, anyio.create_task_group() as callers:
        callers.start_soon(group, "first")
        await road.left.wait()
        callers.start_soon(group, "stays")
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as leaving:
            async with anyio.create_task_group() as leavers:
                leavers.start_soon(group, "gone")
                await anyio.wait_all_tasks_blocked()
                leaving.cancel()
        callers.start_soon(group, "comes")
        await anyio.wait_all_tasks_blocked()
        road.clear.set()

    assert road.groups == [["first"], ["stays", "comes"]]
