"""Settlements in groups: what ends while a statement is in flight travels together in the next one."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any

import anyio
import psycopg
from psycopg_pool import PoolTimeout

from aiserv.database import Database
from aiserv.models import Job, Settlement
from aiserv.wake import Wake
from workers.executors import Outcome
from workers.failures import Failure

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
MAX_GROUP = 1000


@dataclass
class _Waiting:
    text: str
    settled: anyio.Event = field(default_factory=anyio.Event)
    answer: Settlement | None = None


def completion(job: Job, outcome: Outcome) -> str:
    """The settlement that stores a result."""
    return _text(job, {"result": outcome.result, "usage": outcome.usage})


def failure(job: Job, failed: Failure) -> str:
    """The settlement that ends an attempt with a failure."""
    retry_after = failed.retry_after.total_seconds() if failed.retry_after is not None else None
    return _text(
        job,
        {
            "category": failed.category,
            "message": failed.message,
            "retryable": failed.retryable,
            "retry_after": retry_after,
            "usage": failed.usage,
        },
    )


def _text(job: Job, fields: dict[str, Any]) -> str:
    return json.dumps({"id": str(job.id), "attempt": job.attempt, **fields}, ensure_ascii=False, allow_nan=False)


class Settler:
    """Hands settlements to PostgreSQL, one statement at a time: no delay when idle, one commit for many under load."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[_Waiting] = []
        self._wake = Wake()

    async def settle(self, settlement: str) -> Settlement:
        """What became of the settlement, once PostgreSQL has committed it; waits for as long as that takes."""
        waiting = _Waiting(settlement)
        self._waiting.append(waiting)
        self._wake()
        await waiting.settled.wait()
        assert waiting.answer is not None  # noqa: S101 - set before the event
        return waiting.answer

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            woken = self._wake.next
            group, self._waiting = self._waiting[:MAX_GROUP], self._waiting[MAX_GROUP:]
            if group:
                await self._settle(group)
            else:
                await woken.wait()

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            answers = await self._database.settle_jobs([waiting.text for waiting in group])
        except (psycopg.OperationalError, PoolTimeout) as error:
            # A repeat is answered like the first time, so nothing is lost by not knowing whether it arrived.
            logger.warning("%s settlements wait for PostgreSQL: %s", len(group), type(error).__name__)
            self._waiting = [*group, *self._waiting]
            await anyio.sleep(RETRY_SECONDS)
            return
        except psycopg.Error as error:
            if len(group) > 1:
                # One that PostgreSQL refuses must not fail its neighbours.
                for waiting in group:
                    await self._settle([waiting])
                return
            answers = [Settlement(id=None, status=None, code=error.sqlstate, detail=error.diag.message_primary)]
        for waiting, answer in zip(group, answers, strict=True):
            waiting.answer = answer
            waiting.settled.set()
