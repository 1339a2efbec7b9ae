"""As many clients as one server can hold wait at once."""

import asyncio
import resource
import time
from collections.abc import Callable
from statistics import quantiles

import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv.bench.load import HttpConnection, request
from aiserv.http.serving import allow_many_connections
from tests.faults.scale import within
from tests.processes import aiserv, resident_kib
from tests.waiting import until

Measured = Callable[[str], None]
WAITERS = 10_000
AT_ONCE = 200
ONE_BY_ONE = 100
# The pool of the server, its probes and its listener.
CONNECTIONS = 10 + 1 + 1

CREATE = """
    select job.id::text
    from aiserv.create_jobs(
        jobs => (select json_agg(json_build_object()) from generate_series(1, %s)),
        defaults => '{"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"}'
    ) as job
"""
HELD = """
    select
    from pg_stat_activity
    where datname = current_database() and application_name like 'aiserv serve%'
"""


@pytest.mark.fault(
    "ten thousand clients wait",
    "as many `GET …?wait=` as open files allow, up to 10,000; a hundred jobs end one by one, the others at once",
    "12 connections to PostgreSQL at most, 25 KiB for each; 95 of 100 woken within 50 ms, the others within 5 s",
)
async def test_ten_thousand_clients_wait_without_a_database_connection_each_and_are_woken(
    conninfo: str, db: psycopg.Connection[DictRow], measured: Measured
) -> None:
    allow_many_connections()
    permitted = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500
    ids = [row["id"] for row in db.execute(CREATE, [min(WAITERS, permitted)])]

    with aiserv("serve", DATABASE_URL=conninfo, MIGRATE_ON_START="false") as server:
        port = await server.port()
        before = resident_kib(server.popen.pid)
        clients, answers = [], {}
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            opened = await asyncio.gather(*(HttpConnection.open(port) for _ in some))
            clients += opened
            for job_id, client in zip(some, opened, strict=True):
                answers[job_id] = client.ask(request("GET", f"/api/v1/jobs/{job_id}?wait=300s"))
        status, _ = await (await HttpConnection.open(port)).ask(request("GET", "/api/v1/stats"))
        memory = (resident_kib(server.popen.pid) - before) / len(ids)
        waiting = sum(not answer.done() for answer in answers.values())
        # A backend that was given up, because the machine stood still, takes a while to leave.
        await until(lambda: db.execute(HELD).rowcount <= CONNECTIONS)
        held = db.execute(HELD).rowcount

        woken = []
        for job_id in ids[:ONE_BY_ONE]:
            called = time.monotonic()
            db.execute("select from aiserv.cancel_job(job_id => %s)", [job_id])
            await answers[job_id]
            woken.append(time.monotonic() - called)
        db.execute("select from aiserv.cancel_jobs(match_all => true)")
        called = time.monotonic()
        seen = await asyncio.gather(*answers.values())
        all_woken = time.monotonic() - called
        for client in clients:
            client.close()

    usual = quantiles(woken, n=20)[-1]
    measured(f"{len(ids):,} on {held} connections, {memory:.0f} KiB each")
    measured(f"95 of 100 woken within {usual * 1000:.0f} ms, all the others within {all_woken:.1f} s")
    assert (status, waiting) == (200, len(ids))
    # Where files are scarce, few of them share what the server needs once.
    assert memory < 25 or len(ids) < WAITERS
    assert usual <= within(0.05)
    assert all_woken <= within(5)
    assert {status for status, _ in seen} == {200}
    assert all(b'"status":"cancelled"' in body.replace(b" ", b"") for _, body in seen)
