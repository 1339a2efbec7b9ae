"""PostgreSQL goes away under a running service, in all the ways it can, and comes back."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import aiohttp
import anyio
import pytest
from anyio import to_thread
from psycopg import sql

from tests.faults.footprint import back_at, footprint
from tests.faults.ledger import at_rest
from tests.faults.load import JOB, Load, checked
from tests.faults.postgres import Connect, Db, Postgres, create, own_postgres, standby_of
from tests.faults.scale import rounds, within
from tests.faults.service import Service, answers, echo_provider, get, service
from tests.providers import content, fake_provider
from tests.waiting import SOON, until
from tests.workers.running import after

Measured = Callable[[str], None]
Fault = Callable[[Postgres], Awaitable[None]]
CALLERS = 200
CANCEL = """
select pg_cancel_backend(pid)
from pg_stat_activity
where datname = current_database() and application_name like 'aiserv %' and state = 'active'
"""


async def restart(postgres: Postgres) -> None:
    await to_thread.run_sync(postgres.stop)
    await to_thread.run_sync(postgres.start)


async def kill(postgres: Postgres) -> None:
    await to_thread.run_sync(postgres.kill)
    await to_thread.run_sync(postgres.start)


async def kill_a_backend(postgres: Postgres) -> None:
    await postgres.kill_backend("aiserv serve%")


async def restart_at_once(postgres: Postgres) -> None:
    await to_thread.run_sync(postgres.break_off)
    await to_thread.run_sync(postgres.start)


async def first_success(running: Service) -> float:
    """How long it takes until a statement goes through again."""
    return await answers(f"{running.urls[0]}/api/v1/jobs?limit=1", "", 200)


@pytest.mark.fault(
    "PostgreSQL is restarted under load; its postmaster is killed; one backend is killed",
    "fast shutdown; `SIGKILL`; `SIGKILL`, one after the other; each once, 10 times in a soak",
    "requests are answered 2 s after it is up (3 s after a crash), none waits over 5 s; nothing lost; files, tasks"
    " and busy connections of the server as before",
)
async def test_whatever_ends_postgresql_the_service_recovers_and_loses_nothing(data: Path, measured: Measured) -> None:
    with own_postgres(data) as postgres:
        async with echo_provider() as provider:
            with service(postgres.url, provider) as running:
                server = await running.start_server()
                await running.start_worker()
                before = await footprint(server)
                load = Load(running, Random(5))
                async with load.running(postgres.connect):
                    for fault in [restart, kill, kill_a_backend] * rounds(1):
                        await anyio.sleep(0.5)
                        await fault(postgres)
                        again = await first_success(running)
                        measured(f"{fault.__name__.replace('_', ' ')}: {again:.1f} s")
                        assert again <= within(2 if fault is restart else 3)
                checked(load, postgres.connect, provider, running)
                await back_at(before, server)
    measured(f"{load.unavailable} times 503, slowest answer {load.slowest:.1f} s, {load.ledger.acknowledged} kept")
    assert load.slowest <= within(5)


@pytest.mark.fault(
    "PostgreSQL is restarted in the middle of grouped creates",
    "as `pg_ctl restart --mode immediate`, while 200 callers create with keys, each until it is answered; 3 times, 30"
    " in a soak",
    "each key has one job, which is done once; nothing acknowledged lost; requests are answered 3 s after it is up",
)
async def test_creates_with_keys_survive_immediate_restarts(data: Path, measured: Measured) -> None:
    with own_postgres(data) as postgres:
        async with echo_provider(seconds=0) as provider:
            with service(postgres.url, provider) as running:
                server = await running.start_server()
                await running.start_worker()
                before = await footprint(server)
                load = Load(running, Random(7))
                stopped = anyio.Event()

                async def create_on() -> None:
                    while not stopped.is_set():
                        await load.create_with_key()

                async with load.running(postgres.connect), anyio.create_task_group() as tasks:
                    for _ in range(CALLERS):
                        tasks.start_soon(create_on)
                    for _ in range(rounds(3)):
                        await anyio.sleep(0.5)
                        await restart_at_once(postgres)
                        again = await first_success(running)
                        measured(f"answered again in {again:.1f} s")
                        assert again <= within(3)
                    stopped.set()
                checked(load, postgres.connect, provider, running)
                await back_at(before, server)
    measured(f"{len(load.ledger.created)} jobs, each once, after {load.unavailable} times 503")


@pytest.mark.fault(
    "statements are cancelled and idle sessions ended by somebody else",
    "`pg_cancel_backend` for all that server and worker do, every 30 ms for 5 s, and an"
    " `idle_in_transaction_session_timeout` of 1 ms, under load",
    "503 or an answer, nothing acknowledged lost; files, tasks and busy connections of the server as before",
)
async def test_cancelled_statements_lose_nothing(conninfo: str, connect: Connect, db: Db, measured: Measured) -> None:
    name = sql.Identifier(db.info.dbname)
    db.execute(sql.SQL("alter database {} set idle_in_transaction_session_timeout = 1").format(name))
    cancelled = 0
    async with echo_provider(9) as provider:
        with service(conninfo, provider) as running:
            server = await running.start_server()
            await running.start_worker()
            before = await footprint(server)
            load = Load(running, Random(9))
            async with load.running(connect):
                ends = time.monotonic() + 5
                while time.monotonic() < ends or not cancelled:
                    cancelled += db.execute(CANCEL).rowcount
                    await anyio.sleep(0.03)
                db.execute(sql.SQL("alter database {} reset idle_in_transaction_session_timeout").format(name))
                again = await first_success(running)
            checked(load, connect, provider, running)
            await back_at(before, server)
    measured(f"{cancelled} cancelled, {load.unavailable} times 503; {load.ledger.acknowledged} acknowledged, 0 lost")
    assert again <= within(2)


@pytest.mark.fault(
    "a result is ready while PostgreSQL is away",
    "stopped for 3 s, meanwhile the provider answers",
    "the result is kept and stored, by the first attempt",
)
async def test_a_result_that_cannot_be_stored_yet_is_kept(data: Path, measured: Measured) -> None:
    may_answer = anyio.Event()
    async with fake_provider() as provider:
        provider.answers(after(may_answer, content("Kept.")))
        with own_postgres(data) as postgres, service(postgres.url, LLM_BASE_URL=provider.base_url) as running:
            # Longer than PostgreSQL is away: a lease that ends is another fault.
            worker = await running.start_worker(WORKER_LEASE_TIMEOUT="60s")
            with postgres.connect() as db:
                create(db, "kept")
            await provider.called()

            await to_thread.run_sync(postgres.stop)
            may_answer.set()
            await worker.says("settlements wait for PostgreSQL")
            await anyio.sleep(3)  # an outage takes its time
            await to_thread.run_sync(postgres.start)

            started = time.monotonic()
            with postgres.connect() as db:
                await at_rest(db, SOON)
                kept = db.execute("select result, attempt from aiserv.jobs").fetchone()
            assert running.complaints() == []
    assert kept
    assert (kept["result"]["content"], kept["attempt"]) == ("Kept.", 1)
    measured(f"stored {time.monotonic() - started:.1f} s after PostgreSQL was back")


@pytest.mark.fault(
    "PostgreSQL crashes right after a claim",
    "`SIGKILL` of the postmaster while the job runs, and nothing but the commit itself has flushed its claim",
    "the claim is there: the run goes on, and its attempt is the only one",
)
async def test_a_claim_survives_a_crash_and_its_number_is_given_out_once(data: Path, measured: Measured) -> None:
    may_answer = anyio.Event()
    async with fake_provider() as provider:
        provider.answers(after(may_answer, content("The only run.")))
        with own_postgres(data) as postgres, service(postgres.url, LLM_BASE_URL=provider.base_url) as running:
            with postgres.connect() as db:
                db.execute("alter system set wal_writer_delay = '10s'")
                db.execute("select pg_reload_conf()")
                await running.start_worker(WORKER_LEASE_TIMEOUT="60s")
                create(db, "claimed once")
            await provider.called()

            await kill(postgres)

            started = time.monotonic()
            with postgres.connect() as db:
                held = db.execute("select status, attempt from aiserv.jobs").fetchone()
                may_answer.set()
                await at_rest(db, SOON)
                kept = db.execute(
                    "select job.result, job.attempt, attempts.outcome from aiserv.jobs as job"
                    " join aiserv.attempts on attempts.job_id = job.id"
                ).fetchall()
            assert running.complaints() == []
    assert held == {"status": "running", "attempt": 1}
    (job,) = kept
    assert (job["result"]["content"], job["attempt"], job["outcome"]) == ("The only run.", 1, "completed")
    assert len(provider.requests) == 1
    measured(f"done {time.monotonic() - started:.1f} s after PostgreSQL was back")


@pytest.mark.fault(
    "PostgreSQL stays away",
    "stopped for 4 s",
    "`/readyz` says so within 2 s, requests get 503 within 5 s, `/healthz` stays 200; then all goes on within 10 s",
)
async def test_while_postgresql_is_away_everybody_is_told_soon(data: Path, measured: Measured) -> None:
    with own_postgres(data) as postgres:
        async with echo_provider() as provider:
            with service(postgres.url, provider) as running:
                server = await running.start_server()
                worker = await running.start_worker()
                ports = await server.port(), await worker.port()
                postgres.stop()

                for port in ports:
                    assert (await get(f"http://127.0.0.1:{port}/healthz"))[0] == 200
                    started = time.monotonic()
                    status, reason = await get(f"http://127.0.0.1:{port}/readyz")
                    seconds = time.monotonic() - started
                    measured(f"/readyz in {seconds:.1f} s")
                    assert (status, "PostgreSQL cannot be used" in reason) == (503, True)
                    assert seconds <= within(2)
                started = time.monotonic()
                assert (await get(f"{running.urls[0]}/api/v1/jobs"))[0] == 503
                refused = time.monotonic() - started
                measured(f"503 in {refused:.1f} s")
                assert refused <= within(5)
                await anyio.sleep(2)
                postgres.start()

                back = await first_success(running)
                measured(f"back after {back:.1f} s")
                assert back <= within(10)
                assert running.complaints() == []


@pytest.mark.fault(
    "the primary dies, and its standby takes over",
    "synchronous replica, `DATABASE_URL` of two hosts with `target_session_attrs=read-write`; `SIGKILL`, promote",
    "requests are answered 3 s after the promotion, without a restart; nothing acknowledged lost",
)
async def test_server_and_worker_follow_a_failover(data: Path, tmp_path: Path, measured: Measured) -> None:
    with own_postgres(data) as primary:
        primary.stop()
        standby = standby_of(primary, tmp_path / "standby")
        primary.start()
        standby.start()
        try:
            with primary.connect() as connection:
                connection.execute("alter system set synchronous_standby_names = 'standby'")
                connection.execute("select pg_reload_conf()")
                await until(lambda: is_synchronous(connection))
            async with echo_provider() as provider:
                with service(both(primary, standby), provider) as running:
                    await running.start_server()
                    await running.start_worker()
                    load = Load(running, Random(6))
                    async with load.running(standby.connect):
                        await anyio.sleep(1)
                        await to_thread.run_sync(primary.kill)
                        with standby.connect() as connection:
                            connection.execute("select pg_promote()")
                        again = await first_success(running)
                        await anyio.sleep(0.5)
                    checked(load, standby.connect, provider, running)
        finally:
            standby.stop()
    measured(f"{again:.1f} s after the promotion; {load.ledger.acknowledged} acknowledged, 0 lost")
    assert again <= within(3)


@pytest.mark.fault(
    "the connections lead to a standby",
    "a standby in place of the primary, at the same address",
    "`/readyz` 503 within 5 s, creates 503; promoted, it serves within 5 s",
)
async def test_a_standby_is_not_taken_for_the_primary(data: Path, measured: Measured) -> None:
    with own_postgres(data) as postgres, service(postgres.url) as running:
        await running.start_server()
        postgres.stop()
        (data / "cluster" / "standby.signal").touch()
        postgres.start()

        noticed = await answers(f"{running.urls[0]}/readyz", "read-only", 503, within(5))
        measured(f"noticed in {noticed:.1f} s")
        async with aiohttp.ClientSession() as http, http.post(f"{running.urls[0]}/api/v1/jobs", json=JOB) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
        with postgres.connect() as connection:
            connection.execute("select pg_promote()")
        ready = await answers(f"{running.urls[0]}/readyz", "", 200)
        measured(f"ready {ready:.1f} s after its promotion")
        assert ready <= within(5)


def both(primary: Postgres, standby: Postgres) -> str:
    """One URL with both hosts, for whichever takes writes."""
    hosts = [postgres.url.partition("host=")[2].partition("&")[0] for postgres in (primary, standby)]
    return f"postgresql://postgres@/postgres?host={','.join(hosts)}&port=5432,5432&target_session_attrs=read-write"


def is_synchronous(connection: Db) -> bool:
    return connection.execute("select from pg_stat_replication where sync_state = 'sync'").rowcount == 1
