"""How our processes run."""

import subprocess
import sys

PROGRAM = """
import gc
from aiserv import event_loop

async def process():
    return gc.get_freeze_count() > 1000, gc.get_threshold()[0] == event_loop.YOUNG_OBJECTS

print(*event_loop.run(process))
"""


def test_garbage_is_not_looked_for_in_what_stays() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert ran.stdout.split() == ["True", "True"]
