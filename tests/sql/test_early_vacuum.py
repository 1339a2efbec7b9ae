"""Tables that were vacuumed before their first rows were committed: PostgreSQL plans as if they held one row."""

import json
from collections.abc import Callable
from uuid import uuid4

from tests.sql.calls import Connect, Db, call, claim, create_many
from tests.sql.reads import TABLES, keep_statistics, rows_scanned


def keys_read(db: Db, act: Callable[[], object]) -> int:
    """How many entries of the keys of jobs were read while it acted, and no row of any table otherwise."""
    read = "select pg_stat_get_xact_tuples_returned('aiserv.job_pkey'::regclass) as entries"
    entries = 0

    def count() -> None:
        nonlocal entries
        (before,) = db.execute(read.encode()).fetchall()
        act()
        (after,) = db.execute(read.encode()).fetchall()
        entries = after["entries"] - before["entries"]

    assert rows_scanned(db, count) == {}
    return entries


def test_a_thousand_claimed_and_settled_jobs_are_found_one_by_one(db: Db, connect: Connect) -> None:
    elsewhere = connect()
    keep_statistics(db)
    with db.transaction():
        create_many(db, [{}] * 8_000)
        # As autovacuum may.
        for table in TABLES:
            elsewhere.execute(f"vacuum aiserv.{table}".encode())

    claiming = keys_read(db, lambda: claim(db, 1000))
    jobs = db.execute("select job_id as id, attempt, 1 as result from aiserv.lease").fetchall()
    settling = keys_read(db, lambda: call(db, "settle_jobs", settlements=json.dumps(jobs, default=str)))

    # Some are read twice. To read all there are for each, or once to compare each with all, would be 8,000 at least.
    assert 1_000 <= claiming <= 3_000
    assert 1_000 <= settling <= 3_000


def test_a_thousand_cancelled_jobs_are_found_one_by_one_by_a_plan_made_when_there_were_none(
    db: Db, connect: Connect
) -> None:
    elsewhere = connect()
    keep_statistics(db)
    for table in TABLES:
        elsewhere.execute(f"vacuum analyze aiserv.{table}".encode())
    call(db, "cancel_jobs", id=[uuid4()])
    create_many(elsewhere, [{}] * 8_000)
    waiting = db.execute("select job_id from aiserv.ready order by job_id limit 1000").fetchall()

    cancelling = keys_read(db, lambda: call(db, "cancel_jobs", id=[row["job_id"] for row in waiting]))

    # Each is found in two places, changed, listed and shown.
    assert 1_000 <= cancelling <= 7_000
