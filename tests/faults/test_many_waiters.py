"""As many clients as one server can hold wait at once."""

import asyncio
import logging
import resource
import time
from statistics import median, quantiles

import psycopg
import pytest
from psycopg.rows import DictRow

from aiserv.bench.load import HttpConnection, request
from aiserv.serving import allow_many_connections
from tests.processes import aiserv, resident_kib

logger = logging.getLogger(__name__)

WAITERS = 10_000
AT_ONCE = 200
ONE_BY_ONE = 100
# The pool of the server, its probes and its listener.
CONNECTIONS = 10 + 1 + 1
# A notification wakes in milliseconds, the look without one after up to thirty seconds: this tells them apart anywhere.
WOKEN_SECONDS = 5

CREATE = """
    select job.id::text
    from aiserv.create_jobs(
        jobs => (select json_agg(json_build_object()) from generate_series(1, %s)),
        defaults => '{"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"}'
    ) as job
"""
HELD = """
    select count(*) as held
    from pg_stat_activity
    where datname = current_database() and application_name like 'aiserv serve%'
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_clients_wait_without_a_database_connection_each_and_are_woken(
    conninfo: str, db: psycopg.Connection[DictRow]
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
        (held,) = db.execute(HELD).fetchall()

        woken = []
        for job_id in ids[:ONE_BY_ONE]:
            called = time.monotonic()
            db.execute("select from aiserv.cancel_job(job_id => %s)", [job_id])
            await answers[job_id]
            woken.append(time.monotonic() - called)
        called = time.monotonic()
        db.execute("select from aiserv.cancel_jobs(match_all => true)")
        seen = await asyncio.gather(*answers.values())
        all_woken = time.monotonic() - called
        for client in clients:
            client.close()

    figures = {"KiB each": memory, "median": median(woken), "worst": max(woken), "all the others": all_woken}
    logger.info("%s clients on %s connections to PostgreSQL: %s", len(ids), held["held"], figures)
    assert (status, waiting) == (200, len(ids))
    assert held["held"] <= CONNECTIONS
    # But for some that the machine stood still for.
    assert quantiles(woken, n=10)[-1] < WOKEN_SECONDS
    assert {status for status, _ in seen} == {200}
    assert all(b'"status":"cancelled"' in body.replace(b" ", b"") for _, body in seen)
