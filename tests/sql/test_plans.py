"""The hot path looks into indexes only, also when the statistics know nothing of what is there."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.sql.calls import Db, call, claim, create, create_many

TABLES = "job", "ready", "scheduled", "lease", "attempt", "unsuccessful"


@pytest.fixture
def busy(db: Db) -> Db:
    """Thousands of jobs of every kind, none of them in the statistics."""
    for table in TABLES:
        db.execute(f"alter table aiserv.{table} set (autovacuum_enabled = off)".encode())
    create_many(db, [{"task_type": "done"}] * 2000)
    for job in claim(db, 1000):
        call(db, "complete_job", job_id=job["id"], result="1")
    call(db, "cancel_jobs", max_jobs=500, match_all=True)
    create_many(db, [{"task_type": "other"}] * 2000 + [{"delay": 3600}] * 2000)
    create_many(db, [{"priority": 1}] * 100)
    return db


def rows_read(db: Db) -> Counter[str]:
    """How many rows sequential scans of each table have read, as this connection has not reported yet."""
    rows = db.execute(
        "select relname, seq_tup_read from pg_stat_xact_user_tables where schemaname = 'aiserv' and relname = any(%s)",
        [list(TABLES)],
    ).fetchall()
    return Counter({row["relname"]: row["seq_tup_read"] for row in rows})


def rows_scanned(db: Db, act: Callable[[], Any]) -> Counter[str]:
    """How many rows of each table were read by sequential scans while it acted."""
    with db.transaction():
        before = rows_read(db)
        act()
        return rows_read(db) - before


def test_no_transition_reads_a_table_from_end_to_end(busy: Db) -> None:
    jobs = claim(busy, 20, task_types=["chat"], model_profiles=["qwen"])
    ids = [job["id"] for job in jobs]
    settled = [{"id": str(job["id"]), "attempt": 1, "result": 1} for job in jobs[:5]]
    failure = {"category": "timeout", "message": ""}

    acts: dict[str, Callable[[], Any]] = {
        "create": lambda: create(busy, idempotency_key="k"),
        "claim": lambda: claim(busy, 10),
        "claim of kinds": lambda: claim(busy, 10, task_types=["chat"], model_profiles=["qwen"]),
        "settle": lambda: call(busy, "settle_jobs", settlements=json.dumps(settled)),
        "complete": lambda: call(busy, "complete_job", job_id=ids[5], attempt=1, result="1"),
        "repeat": lambda: call(busy, "complete_job", job_id=ids[5], attempt=1, result="1"),
        "fail": lambda: call(busy, "fail_job", job_id=ids[6], attempt=1, **failure),
        "fail for now": lambda: call(busy, "fail_job", job_id=ids[7], attempt=1, **failure, retryable=True),
        "heartbeat": lambda: call(busy, "heartbeat_job", job_id=ids[8], attempt=1),
        "heartbeats": lambda: call(busy, "heartbeat_jobs", job_ids=ids, attempts=[1] * 20),
        "release": lambda: call(busy, "release_job", job_id=ids[9], attempt=1),
        "retry": lambda: call(busy, "retry_job", job_id=ids[6]),
        "cancel": lambda: call(busy, "cancel_job", job_id=ids[10]),
        "get": lambda: call(busy, "get_job", job_id=ids[11]),
    }

    for name, act in acts.items():
        assert rows_scanned(busy, act) == {}, name


def test_trouble_of_a_provider_makes_no_transition_read_a_table_from_end_to_end(busy: Db) -> None:
    trouble = {"category": "provider_unavailable", "message": ""}
    for provider in ("qwen", "other"):
        call(busy, "report_provider", provider=provider, **trouble)
    busy.execute("update aiserv.provider set paused_until = clock_timestamp() - interval '1 second'")
    held: dict[str, Any] = {}

    acts: dict[str, Callable[[], Any]] = {
        "probe": lambda: held.update(job_id=claim(busy, 10)[0]["id"], attempt=1),
        "no probe": lambda: claim(busy, 10),
        "report": lambda: call(busy, "report_provider", provider="qwen", **trouble, **held),
        "release": lambda: call(busy, "release_job", **held, **trouble, patience="1 hour"),
    }

    for name, act in acts.items():
        assert rows_scanned(busy, act) == {}, name


def test_an_empty_claim_touches_a_handful_of_pages_whatever_else_is_there(busy: Db) -> None:
    busy.execute("set plan_cache_mode = force_generic_plan")
    claim(busy, task_types=["none"], model_profiles=["none"])

    (row,) = busy.execute(
        "explain (analyze, buffers, format json) select * from aiserv.claim_jobs("
        "worker_id => 'worker-1', task_types => array['none'], model_profiles => array['none'])"
    ).fetchall()

    plan = row["QUERY PLAN"][0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200
