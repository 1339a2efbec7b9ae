"""How long to sleep between two looks."""

import anyio
import pytest

from aiserv.wake import Calm, Pause, Wake


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


async def test_a_wake_between_looking_and_waiting_is_not_lost() -> None:
    wake = Wake()
    woken = wake.next

    wake()

    with anyio.fail_after(1):
        await woken.wait()
    assert not wake.next.is_set()


async def test_looks_that_find_nothing_are_ten_a_second_after_the_first_twenty() -> None:
    now = 0.0
    calm = Calm(clock=lambda: now)
    for _ in range(20):
        calm.looked(found=False)

    with anyio.fail_after(0.05):
        await calm()
    calm.looked(found=False)
    started = anyio.current_time()
    await calm()

    assert anyio.current_time() - started >= 0.09
    now = 0.2
    started = anyio.current_time()
    await calm()
    assert anyio.current_time() - started < 0.05


async def test_looks_that_find_something_are_free() -> None:
    calm = Calm(clock=lambda: 0.0)

    for _ in range(100):
        calm.looked(found=True)
        calm.looked(found=False)

    with anyio.fail_after(0.05):
        await calm()
