"""Connections, disk space and locks run out."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from uuid import UUID

import aiohttp
import anyio
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from tests.conftest import administrator, url_of
from tests.faults.footprint import back_at, footprint
from tests.faults.load import JOB
from tests.faults.postgres import Connect, Db, create, statuses
from tests.faults.scale import rounds, within
from tests.faults.service import answers, echo_provider, get, service
from tests.waiting import SOON, until, waiting_for_locks

Measured = Callable[[str], None]
CALLERS = 500
CONNECTIONS = 10
JOBS = min(rounds(20_000), 100_000)
CLAIMERS = 8
JSON = {"Content-Type": "application/json"}


def lease_end(db: Db) -> datetime:
    """When the only lease there is runs out."""
    (row,) = db.execute("select lease_expires_at from aiserv.lease").fetchall()
    end: datetime = row["lease_expires_at"]
    return end


@pytest.mark.fault(
    "the pool is exhausted",
    "a lock holds all 10 connections of a server, and 500 callers come at once",
    "503 for the 10 that hold them within 6 s, for all others within 3 s (2 s of patience, and the turn of 500);"
    " `/healthz`, `/readyz`, `/metrics` within 2 s; leases (24 s) renewed; files, tasks and busy connections as before",
)
async def test_an_exhausted_pool_turns_callers_away_and_costs_no_lease(
    conninfo: str, connect: Connect, db: Db, measured: Measured
) -> None:
    async with echo_provider() as provider:
        with service(conninfo, provider, WORKER_LEASE_TIMEOUT="24s") as running:
            server = await running.start_server()
            await running.start_worker()
            url = running.urls[0]
            create(db, "hang")
            await until(lambda: provider.executions.total() == 1)
            before = await footprint(server)

            seen: list[tuple[int, float]] = []
            probes: list[float] = []
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
                anyio.create_task_group() as tasks,
            ):

                async def call(number: int) -> None:
                    started = time.monotonic()
                    # Batches: each has a connection of its own, whereas single creates share one.
                    body = {"jobs": [{**JOB, "idempotency_key": str(number)}]}
                    async with http.post(f"{url}/api/v1/jobs/batch", json=body) as response:
                        seen.append((response.status, time.monotonic() - started))

                blocker, leased = connect(), lease_end(db)
                with blocker.transaction():
                    blocker.execute("lock table aiserv.idempotency in access exclusive mode")
                    for number in range(CALLERS):
                        tasks.start_soon(call, number)
                    # Unless the machine stands still until they have all been turned away.
                    await until(lambda: seen or waiting_for_locks(db, "aiserv serve") == CONNECTIONS)
                    for path in ("healthz", "readyz", "metrics"):
                        started = time.monotonic()
                        assert (await get(f"{url}/{path}"))[0] == 200
                        probes.append(time.monotonic() - started)
                    await until(lambda: len(seen) == CALLERS)
                    await until(lambda: lease_end(db) > leased)
            refused = sorted(seconds for status, seconds in seen if status == 503)
            held = db.execute(
                "select attempt from aiserv.jobs where owner_ref = 'hang' and status = 'running'"
            ).fetchone()
            again = await answers(f"{url}/api/v1/jobs", "", 200)
            await back_at(before, server)
            assert running.complaints() == []
    assert (len(refused), held) == (CALLERS, {"attempt": 1})
    turned_away = refused[-CONNECTIONS - 1]
    measured(f"{len(refused)} times 503, after {turned_away:.1f} s for those without a connection")
    measured(f"after {refused[-1]:.1f} s for all; probes {max(probes):.2f} s; back {again:.2f} s")
    assert turned_away <= within(3)
    assert refused[-1] <= within(6)
    assert max(probes) <= within(2)


@dataclass
class Work:
    """What workers do over SQL until they are told to stop: how long their claims took, and what they completed."""

    stop: threading.Event = field(default_factory=threading.Event)
    seconds: list[float] = field(default_factory=list)
    completed: list[UUID] = field(default_factory=list)
    errors: list[psycopg.Error] = field(default_factory=list)

    def go_on(self, connection: Db, name: str) -> None:
        try:
            while not self.stop.is_set():
                started = time.monotonic()
                claimed = connection.execute(
                    "select id, attempt from aiserv.claim_jobs(worker_id => %s, max_jobs => 4)", [name]
                ).fetchall()
                self.seconds.append(time.monotonic() - started)
                for job in claimed:
                    self._complete(connection, job["id"], job["attempt"])
                time.sleep(0.02)
        except psycopg.Error as error:
            self.errors.append(error)

    def _complete(self, connection: Db, job_id: UUID, attempt: int) -> None:
        try:
            connection.execute("select aiserv.complete_job(%s, '1', %s)", [job_id, attempt])
            self.completed.append(job_id)
        except psycopg.DatabaseError as error:
            # Cancelled meanwhile.
            if error.sqlstate not in {"JL409", "JS409"}:
                raise


@pytest.mark.fault(
    "a batch is cancelled while eight workers claim",
    "one `POST` of 20,000 jobs (100,000 in a soak), then one cancel; the workers claim and complete over SQL",
    "0 deadlocks, counters exact; cancel within 30 s for 20,000 each; claims 100 ms in the middle; `/healthz` 500 ms",
)
async def test_a_batch_is_cancelled_under_the_hands_of_eight_claimers(
    conninfo: str, connect: Connect, db: Db, measured: Measured
) -> None:
    work, probes = Work(), list[float]()
    with service(conninfo) as running:
        await running.start_server()
        claimers = [threading.Thread(target=work.go_on, args=[connect(), f"w{number}"]) for number in range(CLAIMERS)]
        for claimer in claimers:
            claimer.start()
        try:
            timeout = aiohttp.ClientTimeout(total=180)
            async with (
                aiohttp.ClientSession(f"{running.urls[0]}/api/v1/", timeout=timeout) as http,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(probe, f"{running.urls[0]}/healthz", probes)
                body = json.dumps({"defaults": JOB, "jobs": [{}] * JOBS})
                started = time.monotonic()
                async with http.post("jobs/batch?return=ids", data=body, headers=JSON) as response:
                    assert response.status == 201, await response.text()
                    batch_id = (await response.json())["batch_id"]
                creating = time.monotonic() - started
                await until(lambda: work.completed and probes)
                told = time.monotonic()
                async with http.post("jobs/cancel", json={"batch_id": batch_id}) as response:
                    assert response.status == 200, await response.text()
                    cancelled = (await response.json())["cancelled"]
                cancelling = time.monotonic() - told
                tasks.cancel_scope.cancel()
        finally:
            work.stop.set()
            for claimer in claimers:
                await anyio.to_thread.run_sync(claimer.join)
        counted = db.execute("select aiserv.stats()::jsonb -> 'queue' as queue").fetchone()
        assert running.complaints() == []
    assert work.errors == []
    assert statuses(db) == {"cancelled": cancelled, "completed": len(work.completed)}
    assert cancelled + len(work.completed) == JOBS
    assert counted
    assert [counted["queue"][status] for status in ("pending", "running", "cancelled")] == [0, 0, cancelled]
    middle = median(work.seconds)
    measured(f"created in {creating:.1f} s, cancelled in {cancelling:.1f} s; {len(work.completed):,} completed before")
    measured(
        f"{len(work.seconds)} claims, {middle * 1000:.0f} ms in the middle; 0 deadlocks; probes {max(probes):.2f} s"
    )
    assert cancelling <= within(30 * JOBS / 20_000)
    assert middle <= within(0.1)
    assert max(probes) <= within(0.5)


async def probe(url: str, seconds: list[float]) -> None:
    """Ask again and again, and write down how long each answer took."""
    async with aiohttp.ClientSession() as http:
        while True:
            started = time.monotonic()
            async with http.get(url) as response:
                assert response.status == 200
            seconds.append(time.monotonic() - started)
            await anyio.sleep(0.05)


@contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[Callable[[int], None]]:
    """A file system of this size at `directory`, and how to change it; skips the test where the kernel forbids it."""
    # PostgreSQL is somebody else, and has to walk there.
    directory.parent.chmod(0o711)
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(directory)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk needs the right to mount one")

    def resize(size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}m", str(directory)], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@contextmanager
def database_on(postgres: str, template: str, disk: Path) -> Iterator[str]:
    """The URL of a database whose tables lie there."""
    names = {"database": sql.Identifier("aiserv_small"), "space": sql.Identifier("aiserv_small")}
    with administrator(postgres) as connection:
        owner = Path(f"/proc/{connection.info.backend_pid}").stat()
        shutil.chown(disk, owner.st_uid, owner.st_gid)
        disk.chmod(0o700)
        connection.execute(sql.SQL("create tablespace {space} location {place}").format(**names, place=str(disk)))
        connection.execute(
            sql.SQL("create database {database} template {template} tablespace {space}").format(
                **names, template=sql.Identifier(template)
            )
        )
    try:
        yield url_of(postgres, "aiserv_small")
    finally:
        with administrator(postgres) as connection:
            connection.execute(sql.SQL("drop database {database} with (force)").format(**names))
            connection.execute(sql.SQL("drop tablespace {space}").format(**names))


@pytest.mark.fault(
    "the disk is full",
    "the tables lie on a tmpfs of 32 MiB (root), and callers create until it is full; then it grows",
    "creates get 503 with `Retry-After`, reads 200; creates work 1 s after there is space; PostgreSQL stays up",
)
async def test_a_full_disk_refuses_creates_and_heals(
    postgres: str, template: str, scratch: Path, measured: Measured
) -> None:
    text = "".join(chr(33 + (number * number * 7919 + number // 90) % 90) for number in range(100_000))
    body = {**JOB, "input": {"text": text}}
    disk = scratch / "small"
    with small_disk(disk, 32) as resize, database_on(postgres, template, disk) as url, service(url) as running:
        await running.start_server()
        async with aiohttp.ClientSession(f"{running.urls[0]}/api/v1/") as http:
            created = 0
            with anyio.fail_after(60):
                while True:
                    async with http.post("jobs", json=body) as response:
                        if response.status != 201:
                            break
                        created += 1
            refused = response.status, response.headers.get("Retry-After")
            async with http.get("jobs?limit=1") as response:
                assert response.status == 200

            resize(128)
            started = time.monotonic()
            with anyio.fail_after(SOON):
                while True:
                    async with http.post("jobs", json=body) as response:
                        if response.status == 201:
                            break
            healed = time.monotonic() - started
        with psycopg.connect(url, row_factory=dict_row) as db:
            there = sum(statuses(db).values())
        assert running.complaints() == []
    assert refused == (503, "1")
    assert there == created + 1
    assert healed <= within(1)
    measured(f"503 after {created} jobs of 100 kB, all there; healed in {healed:.2f} s")
