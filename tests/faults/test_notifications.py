"""Listeners that are terminated, listeners that hang, and storms of notifications from others."""

import threading
import time
from collections.abc import Callable
from functools import partial
from uuid import uuid4

import anyio
import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest
from psycopg import sql

from tests.faults.postgres import Connect, Db, create
from tests.faults.scale import rounds, within
from tests.faults.service import answers, echo_provider, service
from tests.faults.test_networks import CONNECTED, completed, job_done, metrics
from tests.processes import Process, resident_kib
from tests.waiting import until

Measured = Callable[[str], None]
STORM_SECONDS = 4
CALLS = "select coalesce(sum(calls), 0) as calls from pg_stat_user_functions where funcname = any(%s)"
CLAIMS = ["claim_work"]
OURS = "select from pg_stat_activity where application_name like 'aiserv %' and datname = current_database()"


def terminate_listeners(db: Db) -> int:
    found = db.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name like 'aiserv % listener' and datname = current_database()"
    )
    return found.rowcount


def mebibytes(*processes: Process) -> float:
    return sum(resident_kib(process.popen.pid) for process in processes) / 1024


def cpu_seconds(process: Process) -> float:
    """What the process has had of the cores."""
    times = psutil.Process(process.popen.pid).cpu_times()
    return float(times.user + times.system)


@pytest.mark.fault(
    "the listener's backend is terminated, again and again",
    "`pg_terminate_backend`, and a new job at once; 20 times, 100 in `make faults`, 200 in a soak",
    "listening again and the job done within 1.5 s, each time",
)
async def test_a_terminated_listener_is_back_at_once_each_time(conninfo: str, db: Db, measured: Measured) -> None:
    seconds = []
    async with echo_provider(seconds=0) as provider:
        with service(conninfo, provider) as running:
            page = await metrics(await running.start_worker())
            for number in range(1, rounds(20, alone=100) + 1):
                await answers(page, CONNECTED, 200)
                # What the page says may be what was so before the last one was terminated.
                await until(lambda: terminate_listeners(db))
                seconds.append(await job_done(db, number))
            assert running.complaints() == []
    measured(f"{len(seconds)} of {len(seconds)} times, {max(seconds):.2f} s at most")
    assert max(seconds) <= within(1.5)


@pytest.mark.fault(
    "a storm of notifications from somebody who may do nothing but connect",
    "a role without rights notifies all channels as fast as it can for 4 s: names of profiles, ids, garbage",
    "an idle worker claims 10 times a second at most (and 20 at once), as a server sweeps; memory stays, jobs go on;"
    " half a second of CPU for 100,000 notifications",
)
async def test_a_storm_of_notifications_is_not_a_storm_of_statements(
    conninfo: str, connect: Connect, db: Db, measured: Measured
) -> None:
    stranger, database = sql.Identifier(f"stranger_{uuid4().hex}"), sql.Identifier(db.info.dbname)
    db.execute(sql.SQL("alter database {} set track_functions = 'pl'").format(database))
    db.execute(sql.SQL("create role {}").format(stranger))
    stop = threading.Event()
    sent = []

    def storm(storming: Db) -> None:
        storming.execute(sql.SQL("set session authorization {}").format(stranger))
        while not stop.is_set():
            sent.append(storming.execute(
                """
                select pg_notify(channel.name, payload.text)
                from unnest(array['aiserv_ready', 'aiserv_scheduled', 'aiserv_finished', 'aiserv_cancelled'])
                    as channel(name)
                cross join lateral (
                    select 'qwen' as text
                    union all select gen_random_uuid()::text
                    union all select md5(random()::text) || number from generate_series(1, 100) as number
                ) as payload
                """
            ).rowcount)  # fmt: skip

    def calls(functions: list[str]) -> int:
        row = db.execute(CALLS, [functions]).fetchone()
        assert row
        return int(row["calls"])

    try:
        async with echo_provider(seconds=0) as provider:
            with service(conninfo, provider) as running:
                server, worker = await running.start_server(), await running.start_worker()
                for process in (server, worker):
                    await answers(await metrics(process), CONNECTED, 200)
                await job_done(db, 1)
                memory, claims, sweeps = mebibytes(worker, server), calls(CLAIMS), calls(["sweep"])
                cpu = cpu_seconds(worker)
                began = time.monotonic()

                storming = threading.Thread(target=storm, args=[connect()])
                storming.start()
                await anyio.sleep(STORM_SECONDS)
                await until(lambda: sent)
                during = await job_done(db, 2)
                stop.set()
                await anyio.to_thread.run_sync(storming.join)
                stormed = time.monotonic() - began

                grown = mebibytes(worker, server) - memory
                cpu = (cpu_seconds(worker) - cpu) / sum(sent) * 100_000
                assert running.complaints() == []
        seconds = time.monotonic() - began
        # When they leave, backends have reported what they have called.
        await until(lambda: not db.execute(OURS).fetchall())
        claims, sweeps = calls(CLAIMS) - claims, calls(["sweep"]) - sweeps
    finally:
        stop.set()
        db.execute(sql.SQL("drop role {}").format(stranger))
    measured(
        f"{sum(sent) / stormed:,.0f} a second for {stormed:.1f} s: {claims} claims, {sweeps} sweeps, {grown:+.0f} MiB"
    )
    measured(f"a job done in {during:.1f} s meanwhile; the worker takes {cpu:.2f} s of a core for 100,000")
    most = 20 + 10 * (seconds + 5)
    # One at least took the job.
    assert 1 <= claims <= most
    assert sweeps <= most
    assert grown < 64
    assert cpu <= within(0.5)


@pytest.mark.fault(
    "a listener that does not read",
    "a session that listens to all channels and never looks, while 300 jobs are done",
    "nobody else notices; the notification queue stays under 3 %",
)
async def test_a_hung_listener_holds_nobody_up(conninfo: str, connect: Connect, db: Db, measured: Measured) -> None:
    hung = connect()
    for channel in ("ready", "scheduled", "finished", "cancelled"):
        hung.execute(sql.SQL("listen {}").format(sql.Identifier(f"aiserv_{channel}")))
    with hung.transaction():
        hung.execute("select")
        async with echo_provider(seconds=0) as provider:
            with service(conninfo, provider) as running:
                await running.start_worker()
                started = time.monotonic()
                for number in range(300):
                    create(db, f"job-{number}")
                await until(partial(completed, db, 300), within(30))
                seconds = time.monotonic() - started
                row = db.execute("select pg_notification_queue_usage() as usage").fetchone()
    assert row
    measured(f"300 jobs in {seconds:.1f} s; queue {row['usage']:.3%} full")
    assert row["usage"] < 0.03
