"""What a process holds, and that it lets go of it."""

import re
import time
from collections.abc import Mapping

import anyio

from tests.faults.service import get
from tests.processes import Process, descriptors
from tests.waiting import SOON

HELD = re.compile(r'^aiserv_(?:database_connections\{state="(\w+)"\}|(tasks)) (\S+)$', re.MULTILINE)
# Connections for the probes of a server, which no metric counts: opened when they are needed, and kept.
PROBES = 2


async def footprint(process: Process) -> dict[str, int]:
    """Its `tasks`, its `files` and sockets but for the pool, `busy` connections to PostgreSQL and who is `waiting`."""
    _, text = await get(f"http://127.0.0.1:{await process.port()}/metrics")
    held = {state or tasks: int(float(number)) for state, tasks, number in HELD.findall(text)}
    # The pool opens more when they are needed, and keeps them.
    files = descriptors(process.popen.pid) - held.pop("open")
    return {**held, "files": files}


async def back_at(before: Mapping[str, int], process: Process, seconds: float = SOON) -> float:
    """How long it took until it held no more than before; fails when that takes too long."""
    started = time.monotonic()
    most = {**before, "files": before["files"] + PROBES}
    held = await footprint(process)
    while any(held[name] > most[name] for name in most):
        assert time.monotonic() - started < seconds, (most, held)
        await anyio.sleep(0.05)
        held = await footprint(process)
    return time.monotonic() - started
