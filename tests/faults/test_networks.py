"""Networks that fall silent, and poolers that swallow notifications."""

import json
import time
from collections.abc import Callable
from functools import partial

import anyio
import pytest

from tests.faults.footprint import back_at, footprint
from tests.faults.network import silent_network
from tests.faults.postgres import Db, create, statuses
from tests.faults.scale import within
from tests.faults.service import answers, echo_provider, get, service
from tests.processes import Process
from tests.tcp_proxy import tcp_proxy
from tests.waiting import until

Measured = Callable[[str], None]
CONNECTED = "aiserv_listener_connected 1.0"
NOT_CONNECTED = "aiserv_listener_connected 0.0"


async def metrics(process: Process) -> str:
    return f"http://127.0.0.1:{await process.port()}/metrics"


def completed(db: Db, jobs: int) -> bool:
    return statuses(db).get("completed", 0) == jobs


async def job_done(db: Db, number: int) -> float:
    """How long the job with this number took."""
    started = time.monotonic()
    create(db, f"job-{number}")
    await until(partial(completed, db, number))
    return time.monotonic() - started


@pytest.mark.fault(
    "the listener's connection falls silent",
    "the far end of a veth pair goes down (root): packets vanish, no side is told",
    "noticed within 10 s; then jobs start within the poll interval (1 s) + 1 s; healed, notifications wake again",
)
async def test_a_silent_listener_is_noticed_and_polling_bridges(conninfo: str, db: Db, measured: Measured) -> None:
    with silent_network(conninfo) as network:
        async with echo_provider() as provider:
            with service(
                conninfo, provider, WORKER_POLL_INTERVAL="1s", DATABASE_LISTEN_URL=network.conninfo
            ) as running:
                page = await metrics(await running.start_worker())
                await answers(page, CONNECTED, 200)

                network.drop()
                noticed = await answers(page, NOT_CONNECTED, 200, within(10))
                bridged = await job_done(db, 1)
                network.heal()
                await answers(page, CONNECTED, 200)
                woken = await job_done(db, 2)
                assert running.complaints() == []
    measured(f"noticed in {noticed:.1f} s; started and done in {bridged:.1f} s by polling, {woken:.2f} s once healed")
    assert bridged <= within(2)


@pytest.mark.fault(
    "all connections to PostgreSQL fall silent",
    "the same, for server and worker",
    "503 within 5 s for 20 requests at once, `/readyz` in 2 s, `/healthz` 200; healed, all goes on within 10 s",
)
async def test_when_postgresql_falls_silent_nobody_hangs(conninfo: str, db: Db, measured: Measured) -> None:
    with silent_network(conninfo) as network:
        async with echo_provider() as provider:
            with service(network.conninfo, provider) as running:
                server = await running.start_server()
                await running.start_worker()
                url = running.urls[0]
                await answers(f"{url}/readyz", "", 200)
                await job_done(db, 1)
                before = await footprint(server)

                network.drop()
                slowest: list[float] = []

                async def ask(path: str, status: int) -> None:
                    started = time.monotonic()
                    assert (await get(f"{url}{path}", within(20)))[0] == status
                    if status == 503:
                        slowest.append(time.monotonic() - started)

                async with anyio.create_task_group() as tasks:
                    for _ in range(20):
                        tasks.start_soon(ask, "/api/v1/jobs", 503)
                    tasks.start_soon(ask, "/healthz", 200)
                longest = max(slowest)
                slowest.clear()
                await ask("/readyz", 503)
                network.heal()
                back = await answers(f"{url}/api/v1/jobs", "", 200, within(10))
                done = await job_done(db, 2)
                await back_at(before, server)
                assert running.complaints() == []
    measured(
        f"503 in {longest:.1f} s, /readyz in {slowest[0]:.1f} s; back after {back:.1f} s, a job {done:.1f} s later"
    )
    assert longest <= within(5)
    assert slowest[0] <= within(2)


@pytest.mark.fault(
    "notifications are swallowed, as by a transaction pooler",
    "a proxy before `DATABASE_LISTEN_URL` drops them",
    "the process says so and what to do; jobs start within the poll interval (500 ms) + 0.5 s",
)
async def test_swallowed_notifications_are_noticed_and_polling_bridges(
    conninfo: str, db: Db, measured: Measured
) -> None:
    async with tcp_proxy(conninfo) as proxy, echo_provider() as provider:
        proxy.swallow_notifications = True
        variables = {"DATABASE_LISTEN_URL": proxy.conninfo, "WORKER_POLL_INTERVAL": "500ms"}
        with service(conninfo, provider, **variables) as running:
            worker = await running.start_worker()
            seconds = [await job_done(db, number) for number in range(1, 6)]
            await worker.says("set DATABASE_LISTEN_URL to a direct connection")
            await answers(await metrics(worker), NOT_CONNECTED, 200)
    measured(f"5 jobs done in {max(seconds):.1f} s at most")
    assert max(seconds) <= within(1)


@pytest.mark.fault(
    "what stands between a worker and PostgreSQL hangs, and goes on",
    "a proxy that passes nothing on for 3 s, and acknowledges everything",
    "the worker catches up; no job runs twice while its lease (60 s) holds",
)
async def test_a_worker_catches_up_after_a_frozen_connection(conninfo: str, db: Db, measured: Measured) -> None:
    async with tcp_proxy(conninfo) as proxy, echo_provider() as provider:
        with service(proxy.conninfo, provider, WORKER_LEASE_TIMEOUT="60s") as running:
            await running.start_worker()
            await job_done(db, 1)

            proxy.freeze()
            for number in range(2, 12):
                create(db, f"job-{number}")
            await anyio.sleep(3)
            proxy.thaw()

            started = time.monotonic()
            await until(partial(completed, db, 11))
            measured(f"10 jobs done {time.monotonic() - started:.1f} s after it went on")
            assert json.loads(json.dumps(provider.executions)) == {f"job-{number}": 1 for number in range(1, 12)}


@pytest.mark.fault(
    "the listener's connection is open, and nothing comes",
    "a proxy that acknowledges everything and passes nothing more on for those that are connected: a backend that"
    " hangs",
    "noticed and made anew within 10 s (+ 1 s); a job meanwhile starts then at the latest; notifications wake again",
)
async def test_a_listener_that_hangs_is_noticed_and_wakes_again(conninfo: str, db: Db, measured: Measured) -> None:
    async with tcp_proxy(conninfo) as proxy, echo_provider() as provider:
        # Polling would bridge it: that it does is tested above.
        variables = {"DATABASE_LISTEN_URL": proxy.conninfo, "WORKER_POLL_INTERVAL": "60s"}
        with service(conninfo, provider, **variables) as running:
            worker = await running.start_worker()
            await answers(await metrics(worker), CONNECTED, 200)
            await job_done(db, 1)
            before = await footprint(worker)

            proxy.hang()
            late = await job_done(db, 2)
            await worker.says("PostgreSQL does not answer on the connection that listens")
            await answers(await metrics(worker), CONNECTED, 200)
            woken = await job_done(db, 3)
            await back_at(before, worker)
            assert running.complaints() == []
    measured(f"a job that nobody heard of done in {late:.1f} s, the next one in {woken:.2f} s")
    assert late <= within(11)
