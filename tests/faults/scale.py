"""How often and how long faults are injected: little by default, much in `make soak`; and how times are judged."""

import os
from secrets import randbelow
from typing import Final

from tests.waiting import SOON

TIMES: Final = int(os.environ.get("AISERV_FAULTS_TIMES", "1"))
CHAOS_SECONDS: Final = float(os.environ.get("AISERV_CHAOS_SECONDS", "20"))
# The same each time, but for a soak: it looks for what nobody has seen yet.
CHAOS_SEED: Final = int(os.environ.get("AISERV_CHAOS_SEED") or (randbelow(1_000_000) if TIMES > 1 else 228_922))
# Of these the soak creates and finishes so many, and relies on autovacuum; without it a few, and vacuums by itself.
SOAK_JOBS: Final = int(os.environ.get("AISERV_SOAK_JOBS", "0"))


# Nothing else runs beside `make faults` and `make soak`; any other machine may stand still for seconds.
IS_ALONE: Final = TIMES > 1 or "AISERV_FAULTS_TABLE" in os.environ
# Seconds between two requests of a caller, on average. Where other tests run, too, callers leave them the CPU.
CALLER_PAUSE: Final = 0.2 if IS_ALONE else 0.5


def within(goal: float) -> float:
    """The seconds that a test allows for what has this goal."""
    return goal if IS_ALONE else goal + SOON


def rounds(least: int, alone: int = 0) -> int:
    """So many, at least as many as said where nothing else runs, and in a soak a multiple."""
    return max(least * TIMES, alone if IS_ALONE else 0)
