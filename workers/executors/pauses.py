"""Providers that a job leaves alone, because they are in trouble and another job probes them."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final, TypeAlias

from aiserv.database import Database, DatabaseError
from aiserv.models import Job
from workers.failures import FATES, Failure, Fate

logger = logging.getLogger(__name__)

# The failures that stand for calls which the job shall not make, by the names of the providers; it does not raise.
Pauses: TypeAlias = Callable[[Job], Awaitable[Mapping[str, Failure]]]

SHORTEST_PAUSE: Final = 1.0


def pauses_of(database: Database) -> Pauses:
    """What PostgreSQL says at the moment of the call."""

    async def pauses(job: Job) -> Mapping[str, Failure]:
        try:
            providers = await database.paused_providers(job)
        except DatabaseError as error:
            logger.warning("not known which providers pause: %s", error.sqlstate)
            return {}
        return {name: _failure(category, seconds) for name, (category, seconds) in providers.items()}

    return pauses


def _failure(category: str, seconds: float) -> Failure:
    # Anybody may report a provider, with a word of their own.
    known = category if FATES.get(category) is Fate.RELEASED else "provider_unavailable"
    said = f"left alone, because it is in trouble ({category})"
    return Failure(known, said, retry_after=timedelta(seconds=max(seconds, SHORTEST_PAUSE)))
