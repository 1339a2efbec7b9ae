"""Jobs come and go by the thousand: what a claim costs and what the tables weigh stays as it was.

Costs are counted in pages read, and sizes in bytes: no other process on the machine changes either.
"""

import json
from collections.abc import Callable
from statistics import median

import psycopg
import pytest
from psycopg.rows import DictRow

from tests.faults.scale import rounds

JOBS = rounds(32_000)
ROUND = 2_000
PIECE = 500

Db = psycopg.Connection[DictRow]

CREATE = """
select count(*) from aiserv.create_jobs(jobs => (
    select json_agg(json_build_object('owner_service', 'soak', 'task_type', 'chat', 'model_profile', 'qwen'))
    from generate_series(1, %s)
))
"""
CLAIM = """
select id, attempt
from aiserv.claim_jobs(
    worker_id => 'worker-1', task_types => array['chat'], model_profiles => array['qwen'], max_jobs => %s
)
"""
# Of every relation that a claim touches, as this session has read it and not reported yet.
PAGES = """
select sum(pg_stat_get_xact_blocks_fetched(relation.oid))::bigint as pages
from pg_class as relation
where relation.relnamespace = 'aiserv'::regnamespace and relation.relkind in ('r', 'i')
"""
BYTES = """
select sum(pg_total_relation_size(format('aiserv.%I', name)::regclass))::bigint as bytes
from unnest(array['ready', 'scheduled', 'lease', 'delta', 'tally', 'worker', 'turn']) as name
"""


def number(db: Db, query: str) -> int:
    (row,) = db.execute(query.encode()).fetchall()
    (value,) = row.values()
    return int(value)


def work_off_a_round(db: Db) -> list[int]:
    """Create jobs and complete them all; returns the pages that each claim has read."""
    db.execute(CREATE, [ROUND])
    costs = []
    for _ in range(ROUND // PIECE):
        with db.transaction():
            before = number(db, PAGES)
            jobs = db.execute(CLAIM, [PIECE]).fetchall()
            costs.append(number(db, PAGES) - before)
        settlements = [{"id": str(job["id"]), "attempt": job["attempt"], "result": 1} for job in jobs]
        settled = db.execute("select status from aiserv.settle_jobs(%s)", [json.dumps(settlements)]).fetchall()
        assert [row["status"] for row in settled] == ["completed"] * PIECE
    return costs


def work_off(db: Db, jobs: int) -> list[int]:
    """Rounds for so many jobs, with what servers and autovacuum do meanwhile; returns the pages of each claim."""
    costs: list[int] = []
    for _ in range(jobs // ROUND):
        costs += work_off_a_round(db)
        db.execute("select aiserv.sweep(interval '1 second')")
        # Autovacuum comes once a minute; here a minute is a second.
        for table in ("ready", "lease", "delta", "tally"):
            db.execute(f"vacuum aiserv.{table}".encode())
    return costs


@pytest.mark.slow
@pytest.mark.timeout(120 + JOBS // 500)
def test_a_claim_costs_the_same_after_many_jobs_and_beside_a_long_transaction(
    db: Db, connect: Callable[..., Db]
) -> None:
    fresh = work_off(db, JOBS // 4)
    weight = number(db, BYTES)

    later = work_off(db, JOBS // 4)

    assert median(later) <= median(fresh) * 1.2
    assert number(db, BYTES) <= weight * 1.2 + 2**20

    long = connect(options="-c default_transaction_isolation=repeatable\\ read")
    with long.transaction():
        number(long, "select count(*) from aiserv.jobs")
        held = work_off(db, JOBS // 4)
    weight = number(db, BYTES)
    after = work_off(db, JOBS // 4)

    # Half of the claims begin where another one ended; those from the head pay for the rows that are kept.
    assert median(held) <= median(fresh) * 2
    assert median(after) <= median(fresh) * 1.2
    # What the long transaction kept is room for those who come later: nothing grows on.
    assert number(db, BYTES) <= weight * 1.2 + 2**20
