"""Answers that clients do not take: how long each may leave them, and how much all together."""

from functools import partial

import anyio
import pytest

from aiserv.http.unread import Unread
from tests.waiting import SOON, let_pass, until


async def test_who_does_not_take_an_answer_in_time_is_given_up_and_a_long_one_has_longer() -> None:
    gone: list[str] = []
    unread = Unread(10 * SOON, slowest=1)
    for who, size in (("slow", 1), ("slow with much", int(20 * SOON)), ("quick", 1)):
        unread.add(who, size, partial(gone.append, who))

    unread.discard("quick")
    let_pass(11 * SOON)

    await until(lambda: gone)
    await anyio.wait_all_tasks_blocked()
    assert gone == ["slow"]
    let_pass(20 * SOON)
    await until(lambda: gone == ["slow", "slow with much"])


async def test_of_those_who_leave_too_much_together_the_slowest_with_more_than_its_share_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aiserv.http.unread.MOST", 100)
    gone: list[str] = []
    unread = Unread(SOON, slowest=1)

    for who, size in (("little", 1), ("taken", 90), ("first", 60), ("second", 70)):
        unread.add(who, size, partial(gone.append, who))
        if who == "taken":
            unread.discard(who)

    assert gone == ["first"]
