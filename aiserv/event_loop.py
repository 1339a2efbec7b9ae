"""The event loop of a process of ours, and the memory that lives as long as it does."""

import gc
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Final, TypeVar

import anyio

_Result = TypeVar("_Result")

# More than requests or jobs in progress hold: else a look for garbage comes with every few of them, and finds none.
YOUNG_OBJECTS: Final = 10_000


def run(process: Callable[[], Awaitable[_Result]]) -> _Result:
    """Run the process to its end, on uvloop where that is installed.

    What has been imported by now stays to the end: to look through it for garbage, again and again, would stop
    everything else for a tenth of a second each time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    return anyio.run(process, backend_options={"use_uvloop": find_spec("uvloop") is not None})
