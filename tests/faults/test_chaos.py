"""A schedule of faults, made from a seed, against a mixed load; afterwards the books are compared."""

import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import anyio
import pytest
from anyio import to_thread

from tests.faults.load import Load, checked
from tests.faults.postgres import Postgres, own_postgres
from tests.faults.scale import CHAOS_SECONDS, CHAOS_SEED
from tests.faults.service import Service, answers, echo_provider, service
from tests.processes import descriptors, send
from tests.tcp_proxy import TcpProxy, tcp_proxy
from tests.waiting import until

Measured = Callable[[str], None]
PAUSE_SECONDS = 3.0  # longer than a lease
MAX_DESCRIPTORS = 60  # a pool, a listener and what Python has open; callers have left


@dataclass
class Nemesis:
    """What can be done to a service."""

    postgres: Postgres
    running: Service
    proxy: TcpProxy
    rng: Random

    async def kill_a_worker(self) -> None:
        number = self.rng.randrange(len(self.running.workers))
        self.running.workers[number].send(signal.SIGKILL)
        self.running.launch_worker(number)

    async def kill_a_server(self) -> None:
        number = self.rng.randrange(len(self.running.servers))
        self.running.servers[number].send(signal.SIGKILL)
        await self.running.servers[number].ended()
        self.running.launch_server(number)

    async def pause_a_worker(self) -> None:
        await self._pause([self.rng.choice(self.running.workers).popen.pid])

    async def pause_a_server(self) -> None:
        await self._pause([self.rng.choice(self.running.servers).popen.pid])

    async def pause_anybody(self) -> None:
        """Any servers, workers and backends at once, in the middle of whatever they do."""
        # How many there are is no part of the schedule.
        rng = Random(self.rng.random())
        pids = [process.popen.pid for process in (*self.running.servers, *self.running.workers)]
        pids += self.postgres.backends("aiserv %")
        await self._pause(rng.sample(pids, rng.randint(1, len(pids))))

    async def _pause(self, pids: list[int]) -> None:
        for pid in pids:
            send(pid, signal.SIGSTOP)
        try:
            await anyio.sleep(PAUSE_SECONDS)
        finally:
            for pid in pids:
                send(pid, signal.SIGCONT)

    async def stop_a_worker(self) -> None:
        number = self.rng.randrange(len(self.running.workers))
        self.running.workers[number].send(signal.SIGTERM)
        self.running.launch_worker(number)

    async def restart_postgresql(self) -> None:
        await to_thread.run_sync(self.postgres.stop)
        await to_thread.run_sync(self.postgres.start)

    async def kill_postgresql(self) -> None:
        await to_thread.run_sync(self.postgres.kill)
        await to_thread.run_sync(self.postgres.start)

    async def kill_a_backend(self) -> None:
        await self.postgres.kill_backend("aiserv %")

    async def terminate_everybody(self) -> None:
        with self.postgres.connect() as db:
            db.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'aiserv %'")

    async def cut_the_network(self) -> None:
        self.proxy.cut()

    async def freeze_the_network(self) -> None:
        self.proxy.freeze()
        await anyio.sleep(PAUSE_SECONDS)
        self.proxy.thaw()

    async def storm(self) -> None:
        with self.postgres.connect() as db:
            for _ in range(20):
                db.execute(
                    "select pg_notify(channel, md5(random()::text) || number)"
                    " from unnest(array['aiserv_ready', 'aiserv_finished', 'aiserv_cancelled']) as channel,"
                    " generate_series(1, 100) as number"
                )
                await anyio.sleep(0.02)

    def faults(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.kill_a_worker, self.kill_a_server, self.pause_a_worker, self.pause_a_server, self.pause_anybody,
            self.stop_a_worker, self.restart_postgresql, self.kill_postgresql, self.kill_a_backend,
            self.terminate_everybody, self.cut_the_network, self.freeze_the_network, self.storm,
        ]  # fmt: skip


@pytest.mark.fault(
    "chaos",
    "a schedule made from a seed, of all these, one after the other, under a mixed load;"
    " 20 s, as long as asked in a soak (`AISERV_CHAOS_SEED` repeats a schedule)",
    "every invariant of the ledger; descriptors back to the start",
)
async def test_chaos_costs_nothing_that_was_acknowledged(data: Path, measured: Measured) -> None:
    # First of all: whoever sees it fail wants to repeat it.
    measured(f"seed {CHAOS_SEED}")
    rng = Random(CHAOS_SEED)
    done: Counter[str] = Counter()
    with own_postgres(data) as postgres:
        async with echo_provider(CHAOS_SEED) as provider, tcp_proxy(postgres.url) as proxy:
            with service(postgres.url, provider) as running:
                await running.start_server()
                await running.start_server(DATABASE_URL=proxy.conninfo)
                await running.start_worker()
                await running.start_worker(DATABASE_URL=proxy.conninfo)
                nemesis = Nemesis(postgres, running, proxy, rng)
                load = Load(running, Random(CHAOS_SEED))
                async with load.running(postgres.connect):
                    ends = time.monotonic() + CHAOS_SECONDS
                    while time.monotonic() < ends:
                        await anyio.sleep(rng.uniform(0.2, 1.0))
                        fault = rng.choice(nemesis.faults())
                        done[fault.__name__] += 1
                        await fault()
                for url in running.urls:
                    await answers(f"{url}/readyz", "", 200)
                checked(load, postgres.connect, provider, running)
                servers = [server.popen.pid for server in running.servers]
                await until(lambda: max(map(descriptors, servers)) < MAX_DESCRIPTORS)
    measured(f"{done.total()} faults in {CHAOS_SECONDS:.0f} s")
    measured(f"{load.sent} requests, the slowest answered in {load.slowest:.1f} s")
    measured(f"{load.ledger.acknowledged} facts acknowledged, 0 lost")
