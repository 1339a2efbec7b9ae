"""Requests that wait, and what happens once they do."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import pytest

from aiserv.api.finished import FinishedJobs
from aiserv.api.waiting_claims import WaitingClaims
from tests.api.client import Answer
from tests.waiting import until

# Seconds: well before the look of twice a minute, which finds what nobody was told of.
TOLD: Final = 20.0


class Waits:
    """Knows how many waits have begun in the servers of a test, which run in threads of its own process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        for kind, name in ((FinishedJobs, "wait_for"), (WaitingClaims, "_look")):
            monkeypatch.setattr(kind, name, self._counted(getattr(kind, name)))

    async def answer(self, request: Awaitable[Answer], then: Callable[[], Awaitable[object]]) -> Answer:
        """What the request answers when this has happened while it waits."""
        before = self.begun
        answers: list[Answer] = []

        async def wait() -> None:
            answers.append(await request)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await until(lambda: self.begun > before)
            assert not answers
            await then()
            await until(lambda: answers, TOLD)
        return answers[0]

    def _counted(self, wait: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        def begin(*arguments: object) -> Awaitable[Any]:
            self.begun += 1
            return wait(*arguments)

        return begin
