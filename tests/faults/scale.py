"""How often and how long faults are injected: little by default, much in `make soak`."""

import os
from secrets import randbelow
from typing import Final

TIMES: Final = int(os.environ.get("AISERV_FAULTS_TIMES", "1"))
CHAOS_SECONDS: Final = float(os.environ.get("AISERV_CHAOS_SECONDS", "20"))
CHAOS_SEED: Final = int(os.environ.get("AISERV_CHAOS_SEED") or randbelow(1_000_000))
# Of these the soak creates and finishes so many, and relies on autovacuum; without it a few, and vacuums by itself.
SOAK_JOBS: Final = int(os.environ.get("AISERV_SOAK_JOBS", "0"))


def rounds(least: int) -> int:
    """So many, and in a soak a multiple."""
    return least * TIMES
