"""How long to sleep between two looks."""

import anyio
import pytest

from aiserv.wake import LOOK_SECONDS, REST_SECONDS, Pause, TokenBucket, Wake
from tests.waiting import SOON


@pytest.fixture(autouse=True)
def _looks_by_the_clock(_patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these be as they are for everybody but the tests of workers."""
    monkeypatch.setattr("aiserv.wake.LOOK_SECONDS", LOOK_SECONDS)


@pytest.mark.parametrize(("due_in", "seconds"), [(None, 30), (100, 30), (3, 3), (0.25, 0.25)])
def test_a_pause_ends_when_something_is_due_and_after_half_a_minute_at_the_latest(
    due_in: float | None, seconds: float
) -> None:
    assert Pause()(due_in) == seconds


def test_what_stays_overdue_is_looked_at_ever_less_often() -> None:
    pause = Pause()

    pauses = [pause(-1.0) for _ in range(12)]

    assert pauses[0] <= 0.01
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1.0


def test_a_pause_begins_anew_when_nothing_is_overdue() -> None:
    pause = Pause()
    for _ in range(12):
        pause(-1.0)

    pause(5.0)

    assert pause(0.0) <= 0.01


def test_what_became_due_during_a_look_is_looked_at_again_after_as_long_as_that_took_but_soon() -> None:
    pause = Pause()

    assert [pause(-0.01, took=0.02) for _ in range(12)] == [0.02] * 12
    assert [pause(-0.01, took=0.25) for _ in range(12)] == [REST_SECONDS] * 12
    # Due before it began: somebody else holds it.
    assert pause(-0.3, took=0.25) <= 0.01


async def test_a_wake_between_looking_and_waiting_is_not_lost() -> None:
    wake = Wake()
    woken = wake.next

    wake()

    with anyio.fail_after(SOON):
        await woken.wait()
    assert not wake.next.is_set()


class FakeTime:
    """Passes when somebody sleeps, and not otherwise."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_looks_that_find_nothing_are_ten_a_second_after_the_first_twenty() -> None:
    time = FakeTime()
    looks = TokenBucket(clock=lambda: time.now, sleep=time.sleep)
    for _ in range(20):
        looks.looked(found=False)

    await looks()
    assert time.slept == []
    looks.looked(found=False)
    await looks()
    assert time.slept == [pytest.approx(0.1)]
    time.now += 0.1
    await looks()
    assert len(time.slept) == 1


async def test_looks_that_find_something_are_free() -> None:
    time = FakeTime()
    looks = TokenBucket(clock=lambda: time.now, sleep=time.sleep)

    for _ in range(100):
        looks.looked(found=True)
        looks.looked(found=False)

    await looks()
    assert time.slept == []
