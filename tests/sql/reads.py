"""How much PostgreSQL reads: a measure of work that no other process on the machine changes."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.sql.calls import Db

# Those that grow with the jobs.
TABLES = "job", "ready", "scheduled", "lease", "attempt", "unsuccessful", "idempotency", "batch"


def keep_statistics(db: Db) -> None:
    """Have autovacuum leave the tables alone: then the planner knows what the test has told it, whenever it runs."""
    for table in TABLES:
        db.execute(f"alter table aiserv.{table} set (autovacuum_enabled = off)".encode())


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


def pages(db: Db, query: str) -> int:
    """How many pages the query touches: a measure of work that hardly any other process on the machine changes.

    Now and then a session reads the catalogue anew, when it has not heard in time what others have changed.
    """
    (row,) = db.execute(f"explain (analyze, buffers, format json) {query}".encode()).fetchall()
    plan = row["QUERY PLAN"][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])
