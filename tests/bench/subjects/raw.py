"""What PostgreSQL gives to one connection without any service: the limit that ours is measured by."""

import sys
import time
from typing import Final

import psycopg

from tests.bench.jobs import INPUT, OWNER, PROFILE
from tests.bench.subjects.reporting import Starts, database_url, say

BATCH: Final = 500
# The least that a queue with owners, results and priorities can do with.
TABLE: Final = """
    create table if not exists raw_job (
        id            bigint generated always as identity primary key,
        owner_service text not null,
        task_type     text not null,
        model_profile text not null,
        priority      integer not null default 0,
        input         json not null,
        status        text not null default 'pending',
        result        json,
        created_at    timestamptz not null default clock_timestamp()
    );
    create index if not exists raw_job_ready on raw_job (model_profile, priority, id) where status = 'pending'
"""
INSERT: Final = """
    insert into raw_job (owner_service, task_type, model_profile, input)
    select * from unnest(%b::text[], %b::text[], %b::text[], %b::json[])
"""
CLAIM: Final = """
    update raw_job set status = 'running'
    where id = any(array(
        select id from raw_job where status = 'pending' and model_profile = %b
        order by priority, id limit %b for update skip locked
    ))
    returning id, input
"""
COMPLETE: Final = """
    update raw_job set status = 'completed', result = done.result
    from unnest(%b::bigint[], %b::json[]) as done(id, result) where raw_job.id = done.id
"""


def insert_once(connection: psycopg.Connection, count: int) -> None:
    columns = [[OWNER] * count, ["noop"] * count, [PROFILE] * count, [INPUT] * count]
    connection.execute(INSERT, columns, prepare=True)


def insert(connection: psycopg.Connection, count: int, seconds: float) -> float:
    """How many rows a second it inserts, so many at a time."""
    inserted, begin = 0, time.monotonic()
    while (took := time.monotonic() - begin) < seconds:
        insert_once(connection, count)
        inserted += count
    return inserted / took


def drain(connection: psycopg.Connection, every: int) -> None:
    """Claim and complete until there is nothing left, again whenever told on standard input."""
    starts = Starts(every)
    say(port=0)
    while sys.stdin.readline():
        while jobs := connection.execute(CLAIM, [PROFILE, BATCH]).fetchall():
            starts(len(jobs))
            connection.execute(COMPLETE, [[job_id for job_id, _ in jobs], ['{"ok": true}'] * len(jobs)])


def main() -> None:
    with psycopg.connect(database_url(), autocommit=True, prepare_threshold=0) as connection:
        drain(connection, int(sys.argv[1]))


if __name__ == "__main__":
    main()
