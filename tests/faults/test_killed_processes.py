"""Servers and workers die under load, or are paused: others take over, and nothing acknowledged is lost."""

import signal
import time
from collections.abc import Callable
from functools import partial

import anyio
import pytest

from tests.faults.ledger import Ledger, at_rest
from tests.faults.load import under_load
from tests.faults.postgres import Connect, Db, create, statuses
from tests.faults.scale import CALLER_PAUSE, IS_ALONE, rounds, within
from tests.faults.service import LEASE_SECONDS, SLOTS, echo_provider, service
from tests.waiting import until

Measured = Callable[[str], None]
REST_SECONDS = 30.0


def holds(db: Db, worker_id: str, least: int = 1) -> bool:
    found = db.execute("select from aiserv.lease where worker_id = %s limit %s", [worker_id, least])
    return found.rowcount >= least


def holds_nothing(db: Db, worker_id: str) -> bool:
    return not holds(db, worker_id)


@pytest.mark.fault(
    "a worker is killed, again and again, under load",
    "`SIGKILL` at random moments, then a new one; 3 times, 30 in a soak",
    "its jobs are taken over within the lease (2 s) + 2 s; nothing lost, nothing twice",
)
async def test_killed_workers_lose_no_job(conninfo: str, connect: Connect, db: Db, measured: Measured) -> None:
    slowest = 0.0
    async with under_load(conninfo, connect, 1, workers=2) as load:
        for turn in range(rounds(3)):
            number = turn % 2
            await anyio.sleep(load.rng.uniform(0.2, 0.6))
            await until(partial(holds, db, f"worker-{number}"), 60)

            load.service.workers[number].send(signal.SIGKILL)
            killed = time.monotonic()
            await until(partial(holds_nothing, db, f"worker-{number}"))
            slowest = max(slowest, time.monotonic() - killed)

            await load.service.start_worker(number)
    measured(f"{slowest:.1f} s; {load.ledger.acknowledged} requests acknowledged, 0 lost")
    assert slowest <= within(LEASE_SECONDS + 2)


@pytest.mark.fault(
    "a worker is paused for longer than its lease",
    "`SIGSTOP`, `SIGCONT` after others have done its jobs; 1 round, 10 in a soak",
    "its late results are refused; 0 results overwritten",
)
async def test_a_paused_worker_overwrites_nothing(conninfo: str, connect: Connect, db: Db, measured: Measured) -> None:
    refused = 0
    async with under_load(conninfo, connect, 2, workers=2, answer_seconds=0.2) as load:
        paused = load.service.workers[0]
        for _ in range(rounds(1)):
            before = refused
            # All that it held may have been on its way to PostgreSQL already: then once more.
            while refused == before:
                await until(lambda: holds(db, "worker-0"), 60)

                paused.send(signal.SIGSTOP)
                await until(lambda: holds_nothing(db, "worker-0"))
                paused.send(signal.SIGCONT)

                await until(lambda: holds(db, "worker-0") or paused.text.count("lease_lost") > refused, 60)  # noqa: B023 - awaited here
                refused = paused.text.count("lease_lost")
    measured(f"{refused} late results refused, {len(load.ledger.results)} results unchanged")


@pytest.mark.fault(
    "a worker is told to stop in the middle of long jobs",
    "`SIGTERM` with 8 jobs running and 0.3 s to finish",
    "claims nothing more; its jobs run elsewhere 1 s after they are given back; no attempt burnt; exit 0",
)
async def test_a_worker_that_stops_hands_its_jobs_over(
    conninfo: str, connect: Connect, db: Db, measured: Measured
) -> None:
    async with echo_provider() as provider:
        with service(conninfo, provider, WORKER_SHUTDOWN_TIMEOUT="300ms", WORKER_LEASE_TIMEOUT="60s") as running:
            leaving = await running.start_worker()
            for number in range(SLOTS):
                create(db, f"hang-{number}")
            await until(lambda: provider.executions.total() == SLOTS)
            await running.start_worker()

            told = time.monotonic()
            leaving.send(signal.SIGTERM)
            await until(lambda: holds(db, "worker-1", SLOTS), 60)
            taken = time.monotonic() - told - 0.3

            assert await leaving.ended() == 0
            row = db.execute("select max(failures) as failures, max(attempt) as attempt from aiserv.jobs").fetchone()
            outcomes = db.execute(
                "select distinct outcome from aiserv.attempts where worker_id = 'worker-0'"
            ).fetchall()
    assert row == {"failures": 0, "attempt": 2}
    assert outcomes == [{"outcome": "released"}]
    measured(f"all 8 run elsewhere {taken:.2f} s later")
    # Without the release they would wait for the end of their lease, for a minute.
    assert taken <= within(1)


@pytest.mark.fault(
    "a server is killed between commit and answer",
    "`SIGKILL` while requests with keys are in flight; callers repeat them elsewhere; 3 times, 30 in a soak",
    "0 duplicates, nothing acknowledged lost",
)
async def test_killed_servers_create_nothing_twice(conninfo: str, connect: Connect, db: Db, measured: Measured) -> None:
    async with under_load(conninfo, connect, 3, servers=2, pause=CALLER_PAUSE / 4) as load:
        turn = 0
        # Until a request was in flight, too.
        while turn < rounds(3) or not load.resets:
            await anyio.sleep(load.rng.uniform(0.2, 0.5))

            load.service.servers[turn % 2].send(signal.SIGKILL)
            await load.service.servers[turn % 2].ended()
            await load.service.start_server(turn % 2)
            turn += 1
    measured(f"{load.resets} answers lost, {load.ledger.acknowledged} acknowledged, 0 twice, 0 lost")


@pytest.mark.fault(
    "servers are restarted one after the other under load",
    "`SIGTERM` to each of two in turn, then a new one; 2 times, 20 in a soak",
    "0 connections reset, exit 0, nothing acknowledged lost",
)
async def test_a_rolling_restart_resets_no_connection(
    conninfo: str, connect: Connect, db: Db, measured: Measured
) -> None:
    slowest = 0.0
    async with under_load(conninfo, connect, 4, servers=2, pause=CALLER_PAUSE / 4) as load:
        for turn in range(rounds(2)):
            server = load.service.servers[turn % 2]
            await anyio.sleep(0.3)

            told = time.monotonic()
            server.send(signal.SIGTERM)
            assert await server.ended() == 0
            slowest = max(slowest, time.monotonic() - told)
            await load.service.start_server(turn % 2)
    measured(f"{load.resets} of {load.sent} requests reset; stopped within {slowest:.1f} s")
    # On a busy machine a handshake may be half-way through just then.
    assert load.resets <= (0 if IS_ALONE else rounds(2))


@pytest.mark.fault(
    "a job that kills whoever runs it",
    "the worker is killed whenever that prompt is with the provider",
    "failed with `lease_expired` after 3 lost leases; all others completed",
)
async def test_a_poison_job_ends_failed_and_the_others_complete(
    conninfo: str, connect: Connect, db: Db, measured: Measured
) -> None:
    async with echo_provider() as provider:
        with service(conninfo, provider, WORKER_LEASE_TIMEOUT="1s") as running:
            worker = await running.start_worker()
            ledger = Ledger()
            started = time.monotonic()
            for name in ("hang", *(f"job-{number}" for number in range(20))):
                create(db, name)
                ledger.asked.add(name)
            runs = 0
            while True:
                # A lease may also end because the machine stands still.
                await until(lambda: provider.executions["hang"] > runs or "failed" in statuses(db), 60)  # noqa: B023 - awaited here
                if "failed" in statuses(db):
                    break
                runs = provider.executions["hang"]
                # Whoever dies with it three times in a row would be suspected, too.
                await until(lambda: not holds(db, "worker-0", 2), 60)
                worker.send(signal.SIGKILL)
                worker = await running.start_worker(0)
            await at_rest(db, REST_SECONDS)
            ledger.compare(db, provider.executions)
    assert ledger.violations == []
    assert statuses(db) == {"completed": 20, "failed": 1}
    measured(f"failed after {runs} runs, {time.monotonic() - started:.0f} s; 20 of 20 others completed")


@pytest.mark.fault(
    "a worker is killed, and no server is there",
    "`SIGKILL` while a job is with its provider; one more worker lives, and nothing else",
    "the job is run again within the lease (2 s) + 2 s",
)
async def test_a_worker_alone_takes_over_from_one_that_was_killed(conninfo: str, db: Db, measured: Measured) -> None:
    async with echo_provider() as provider:
        with service(conninfo, provider) as running:
            killed = await running.start_worker()
            create(db, "hang")
            await until(provider.executions.total)
            await running.start_worker()
            # It has looked, found nothing, and waits.
            await until(lambda: db.execute("select from aiserv.workers where worker_id = 'worker-1'").rowcount == 1)

            killed.send(signal.SIGKILL)
            died, runs = time.monotonic(), provider.executions.total()
            # A lease may also have ended before, because the machine stands still: then this one is its last run.
            await until(lambda: provider.executions.total() > runs or "failed" in statuses(db), 60)
            seconds = time.monotonic() - died
    measured(f"after {seconds:.1f} s")
    assert seconds <= within(LEASE_SECONDS + 2)


@pytest.mark.slow
async def test_a_worker_without_a_server_works_on(conninfo: str, db: Db) -> None:
    async with echo_provider() as provider:
        with service(conninfo, provider) as running:
            server = await running.start_server()
            worker = await running.start_worker()

            server.send(signal.SIGKILL)
            await server.ended()
            create(db, "after")

            await until(lambda: statuses(db) == {"completed": 1})
            assert worker.popen.poll() is None
