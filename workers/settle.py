"""Settlements in groups: what ends while a statement is in flight travels together in the next one."""

import json
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

import anyio
from pydantic import JsonValue
from pydantic_core import to_json

from aiserv.database import Database, DatabaseError
from aiserv.fields import duration_text
from aiserv.models import Job, Settlement
from aiserv.problems import LOCK_NOT_AVAILABLE
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
    result = _storable(outcome.result)
    if len(result) > MAX_RESULT:
        raise Failure("invalid_response", f"the result is larger than {MAX_RESULT // 1024**2} MiB", usage=outcome.usage)
    usage = _json(outcome.usage) if outcome.usage else "null"
    return f'{{"id":"{job.id}","attempt":{job.attempt},"result":{result.decode()},"usage":{usage}}}'


def failure(job: Job, failed: Failure) -> str:
    """The settlement that ends an attempt with a failure."""
    return _json(
        {
            "id": str(job.id),
            "attempt": job.attempt,
            "category": failed.category,
            "message": failed.message,
            "retryable": failed.retryable,
            "retry_after": duration_text(failed.retry_after),
            "usage": failed.usage,
        }
    )


# Made once: json.dumps makes one for each call that has options.
_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _storable(value: JsonValue) -> bytes:
    """The value as JSON that PostgreSQL can store. Raises RecursionError for one too deep to be written."""
    # Nearly always enough, and several times quicker; not for a lone surrogate, or what is very deep.
    with suppress(ValueError):
        text = to_json(value, inf_nan_mode="null")
        if b"\\u0000" not in text:
            return text
    return _json(clean_json(value)).encode()


# Hears why a settlement was refused, or None: it is stored.
Answered = Callable[[Settlement | None], None]


class _Waiting(NamedTuple):
    settlement: str
    answered: Answered


class Settler:
    """Hands settlements to PostgreSQL, one statement at a time: no delay when idle, one commit for many under load."""

    def __init__(self, database: Database, record: Record) -> None:
        self._database = database
        self._record = record
        self._waiting: deque[_Waiting] = deque()
        self._wake = Wake()
        # Halved by each group that fails, doubled by each that does not: so whoever PostgreSQL refuses is soon alone,
        # and a group that is too much for it becomes one that is not.
        self._largest = MAX_GROUP

    def add(self, settlement: str, answered: Answered) -> None:
        """Have it settled; `answered` hears what became of it, once PostgreSQL has committed, if it takes hours."""
        self._waiting.append(_Waiting(settlement, answered))
        self._wake()

    async def run(self) -> None:
        """Settle for ever."""
        while True:
            woken = self._wake.next
            if group := self._next_group():
                await self._settle(group)
            else:
                await woken.wait()

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and len(group) < self._largest:
            size += len(self._waiting[0].settlement)
            if group and size > MAX_GROUP_CHARACTERS:
                break
            group.append(self._waiting.popleft())
        return group

    async def _settle(self, group: list[_Waiting]) -> None:
        try:
            refused = await self._database.settle_jobs([waiting.settlement for waiting in group])
        except DatabaseError as error:
            said = self._record.database_error(error)
            state = error.sqlstate or CONNECTION_FAILURE
            is_final = state.startswith(FINAL)
            if len(group) > 1 or not is_final:
                # One that PostgreSQL refuses must not fail its neighbours. A repeat is answered like the first time, so
                # nothing is lost by not knowing whether it arrived.
                if len(group) > 1:
                    self._waiting.extendleft(reversed(group))
                else:
                    # The others may fare better: somebody may hold this job for long.
                    self._waiting.extend(group)
                self._largest = max(len(group) // 2, 1)
                if not is_final and not (state == LOCK_NOT_AVAILABLE and len(group) > 1):
                    logger.warning("%s settlements wait for PostgreSQL: %s", len(group), said)
                    await anyio.sleep(RETRY_SECONDS)
                return
            refused = {0: Settlement(id=None, status=None, code=state, detail=error.diag.message_primary)}
        self._largest = min(self._largest * 2, MAX_GROUP)
        for index, waiting in enumerate(group):
            waiting.answered(refused.get(index))
