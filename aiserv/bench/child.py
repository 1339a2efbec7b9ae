"""A server or a no-op worker of a benchmark: `python -m aiserv.bench.child server|worker`.

A process of its own, so that the one that measures does not slow down what it measures. It takes its settings from the
environment, ends when its standard input is closed (so with whoever started it, however that ends) or on SIGTERM, and
reports in lines of JSON: `{"port"}` once it works, and for a worker `{"started", "id", "at"}` when it starts its first
job and every n-th one, with how many it has started and when (seconds of the system's monotonic clock).
"""

import argparse
import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskStatus

from aiserv import event_loop
from aiserv.api.process import serve
from aiserv.database import Database
from aiserv.logs import configure
from aiserv.metrics import WorkerMetrics
from aiserv.models import Job
from aiserv.settings import Settings
from workers.executors import Outcome
from workers.process import OpenWork, Work, run_worker

TASK_TYPE = "noop"
STDIN = 0


def no_op(model_profile: str, report: Callable[[Job], None]) -> OpenWork:
    """Work that does nothing with the no-op jobs of a model profile, but reports each start."""

    async def execute(job: Job) -> Outcome:
        report(job)
        return Outcome({"ok": True}, None)

    async def open_work(_stack: AsyncExitStack, _database: Database, _metrics: WorkerMetrics) -> Work:
        return Work([TASK_TYPE], [model_profile], execute, secrets=[])

    return open_work


class Reports:
    """Says when the first job starts, and every n-th."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._started = 0

    def __call__(self, job: Job) -> None:
        at = time.monotonic()
        self._started += 1
        if self._started == 1 or self._started % self._every == 0:
            say(started=self._started, id=str(job.id), at=at)


def say(**fields: object) -> None:
    sys.stdout.write(f"{json.dumps(fields)}\n")
    sys.stdout.flush()


async def run(process: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Run until standard input is closed or SIGTERM comes."""
    stop = anyio.Event()

    async def stop_when_left() -> None:
        await anyio.wait_readable(STDIN)
        stop.set()

    async def stop_when_told(*, task_status: TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                stop.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_when_left)
        await tasks.start(stop_when_told)
        async with anyio.create_task_group() as process_tasks:
            say(port=await process_tasks.start(process, stop))
        tasks.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["server", "worker"])
    parser.add_argument("--model-profile", default="bench")
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="instead of the environment's")
    given = parser.parse_args()
    settings = Settings.load(**dict(pair.split("=", 1) for pair in given.set))
    configure(settings.log)
    logging.getLogger().setLevel(logging.WARNING)

    async def server(stop: anyio.Event, *, task_status: TaskStatus[int]) -> None:
        await serve(settings, stop, task_status=task_status)

    async def worker(stop: anyio.Event, *, task_status: TaskStatus[int]) -> None:
        await run_worker(no_op(given.model_profile, Reports(given.every)), settings, stop, task_status=task_status)

    process = server if given.what == "server" else worker
    event_loop.run(partial(run, process))


if __name__ == "__main__":
    main()
