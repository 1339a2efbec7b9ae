"""Row 15: many clients that wait for their jobs: what each costs, and how soon one is woken."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

import psycopg

from aiserv.bench.children import Child
from aiserv.bench.load import HttpConnection, LoadError, percentile, request
from tests.bench.jobs import PROFILE, backlog, connected, empty
from tests.bench.processes import server
from tests.bench.scenario import Bench, Figures, Goal, Measure, Scenario
from tests.processes import resident_kib

WOKEN: Final = 200
AT_ONCE: Final = 200
MILLISECONDS: Final = 1000
HEALTH: Final = request("GET", "/healthz")
CLAIM: Final = """
    select job.id::text, job.attempt
    from aiserv.claim_jobs(worker_id => 'bench', model_profiles => array[%s], max_jobs => %s) as job
"""
COMPLETE: Final = "select aiserv.complete_job(job_id => %s, attempt => %s, result => '{\"ok\": true}')"


@contextmanager
def open_waiters(bench: Bench, _needed: frozenset[str]) -> Iterator[Mapping[str, Measure]]:
    """A fresh server for each figure: memory once used is not given back."""
    with ExitStack() as stack:
        url = stack.enter_context(bench.cluster.database())
        connection = stack.enter_context(connected(url))

        def wait() -> Figures:
            empty(connection)
            backlog(connection, bench.sizes.waiters)
            ids = [job_id for (job_id,) in connection.execute("select id::text from aiserv.job").fetchall()]
            with server(bench, url) as served:
                return asyncio.run(_waiting(served, url, ids))

        yield {"wait": wait}


async def _waiting(served: Child, url: str, ids: list[str]) -> Figures:
    await _settled(served)
    before = resident_kib(served.popen.pid)
    clients: dict[str, HttpConnection] = {}
    answered: dict[str, float] = {}
    answers: dict[str, asyncio.Future[tuple[int, bytes]]] = {}
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        opened = await asyncio.gather(*(HttpConnection.open(served.port) for _ in some))
        for job_id, client in zip(some, opened, strict=True):
            clients[job_id] = client
            answers[job_id] = client.ask(request("GET", f"/api/v1/jobs/{job_id}?wait=300s"))
            answers[job_id].add_done_callback(partial(_note, answered, job_id))
    await _settled(served)
    memory = (resident_kib(served.popen.pid) - before) / len(ids)
    woken = []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute(CLAIM, [PROFILE, min(WOKEN, len(ids))])
        for job_id, attempt in await cursor.fetchall():
            called = time.monotonic()
            await connection.execute(COMPLETE, [job_id, attempt])
            status, body = await answers[job_id]
            await asyncio.sleep(0)  # it may have been there already, and the note of when has yet to be made
            if status != 200 or b'"completed"' not in body:
                raise LoadError(f"a client that waited got {status}: {body!r}")
            woken.append((answered[job_id] - called) * MILLISECONDS)
    for client in clients.values():
        client.close()
    return {"waiter_kib": memory, "wake_p50": percentile(woken, 50), "wake_p99": percentile(woken, 99)}


def _note(answered: dict[str, float], job_id: str, _answer: "asyncio.Future[tuple[int, bytes]]") -> None:
    answered[job_id] = time.monotonic()


async def _settled(served: Child) -> None:
    """Return when the server has done what was asked of it: it answers at once, and needs no more memory."""
    client = await HttpConnection.open(served.port)
    resident, calm = 0, 0
    while calm < 3:
        await client.ask(HEALTH)
        now = resident_kib(served.popen.pid)
        calm = calm + 1 if now == resident else 0
        resident = now
        await asyncio.sleep(0.2)
    client.close()


WAITERS: Final = Scenario(
    [
        Goal(
            15, "10,000 waiting clients: memory for each",
            20, 12, ("wait",), lambda run: run["waiter_kib"], unit="KiB", less_is_better=True,
        ),
        Goal(
            15, "the same: p99 to wake one, from the call that completes its job",
            50, 20, ("wait",), lambda run: run["wake_p99"], unit="ms", less_is_better=True,
        ),
    ],
    open_waiters,
)  # fmt: skip
