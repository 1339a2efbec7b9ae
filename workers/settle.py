"""Settlements in groups: what ends while a statement is in flight travels together in the next one."""

import json
import logging
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import anyio

from aiserv.database import Database, DatabaseError
from aiserv.models import Job, Settlement
from aiserv.wake import Wake
from workers.executors import Outcome
from workers.failures import Failure, clean_json
from workers.record import CONNECTION_FAILURE, Record

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
MAX_GROUP: Final = 1000
MAX_GROUP_CHARACTERS: Final = 64 * 1024 * 1024
MAX_RESULT: Final = 16 * 1024 * 1024
# Refusals that speak of the settlement itself, by the first characters of the SQLSTATE: ours, data exceptions,
# constraints, exceptions of somebody's trigger, values too large. All else is PostgreSQL's bad day, and will pass.
FINAL: Final = ("J", "22", "23", "P0", "54")


def completion(job: Job, outcome: Outcome) -> str:
    """The settlement that stores a result. Raises Failure for one that is too large."""
    result = _json(clean_json(outcome.result))
    if len(result.encode()) > MAX_RESULT:
        raise Failure("invalid_response", f"the result is larger than {MAX_RESULT // 1024**2} MiB", usage=outcome.usage)
    usage = _json(outcome.usage)
    return f'{{"id":"{job.id}","attempt":{job.attempt},"result":{result},"usage":{usage}}}'


def failure(job: Job, failed: Failure) -> str:
    """The settlement that ends an attempt with a failure."""
    return _json(
        {
            "id": str(job.id),
            "attempt": job.attempt,
            "category": failed.category,
            "message": failed.message,
            "retryable": failed.retryable,
            "retry_after": failed.retry_after.total_seconds() if failed.retry_after is not None else None,
            "usage": failed.usage,
        }
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@dataclass
class _Waiting:
    settlement: str
    settled: anyio.Event = field(default_factory=anyio.Event)
    answer: Settlement = field(init=False)


class Settler:
    """Hands settlements to PostgreSQL, one statement at a time: no delay when idle, one commit for many under load."""

    def __init__(self, database: Database, record: Record) -> None:
        self._database = database
        self._record = record
        self._waiting: deque[_Waiting] = deque()
        self._wake = Wake()
        # So many of those that wait travel alone, because PostgreSQL refused one of them and not said which.
        self._alone = 0

    async def settle(self, settlement: str) -> Settlement:
        """What became of the settlement, once PostgreSQL has committed it; waits for as long as that takes."""
        waiting = _Waiting(settlement)
        self._waiting.append(waiting)
        self._wake()
        await waiting.settled.wait()
        return waiting.answer

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            woken = self._wake.next
            if group := self._next_group():
                await self._settle(group)
            else:
                await woken.wait()

    def _next_group(self) -> list[_Waiting]:
        limit = 1 if self._alone else MAX_GROUP
        self._alone = max(self._alone - 1, 0)
        group: list[_Waiting] = []
        size = 0
        while self._waiting and len(group) < limit:
            size += len(self._waiting[0].settlement)
            if group and size > MAX_GROUP_CHARACTERS:
                break
            group.append(self._waiting.popleft())
        return group

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            answers = await self._database.settle_jobs([waiting.settlement for waiting in group])
        except DatabaseError as error:
            said = self._record.database_error(error)
            state = error.sqlstate or CONNECTION_FAILURE
            if not state.startswith(FINAL):
                # A repeat is answered like the first time, so nothing is lost by not knowing whether it arrived.
                logger.warning("%s settlements wait for PostgreSQL: %s", len(group), said)
                self._waiting.extendleft(reversed(group))
                await anyio.sleep(RETRY_SECONDS)
                return
            if len(group) > 1:
                # One that PostgreSQL refuses must not fail its neighbours.
                self._waiting.extendleft(reversed(group))
                self._alone = len(group)
                return
            answers = [Settlement(id=None, status=None, code=state, detail=error.diag.message_primary)]
        for waiting, answer in zip(group, answers, strict=True):
            waiting.answer = answer
            waiting.settled.set()
