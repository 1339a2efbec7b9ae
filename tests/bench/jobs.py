"""Jobs of a benchmark: created through the SQL functions, or put where they belong by the thousand."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from aiserv.bench.child import TASK_TYPE

PROFILE: Final = "bench"
OWNER: Final = "bench"
# 300 bytes of input, as in the figures of the peers.
INPUT: Final = '{"text": "' + "x" * 288 + '"}'
# Ids that sort by n, as if made at a thousand a millisecond from a moment of 2024 on.
NTH_ID: Final[LiteralString] = (
    "(lpad(to_hex(1704067200000 + n / 1000), 12, '0') || '7' || lpad(to_hex(n % 1000), 3, '0')"
    " || '8' || lpad(to_hex(n), 15, '0'))::uuid"
)

TRUNCATE_ATTEMPTS: Final = 100

Connection = psycopg.Connection


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def backlog(connection: Connection, count: int, owners: int = 1) -> None:
    """So many jobs at once, of so many owners."""
    connection.execute(
        """
        select count(*)
        from aiserv.create_jobs(jobs => (
            select json_agg(json_build_object(
                'owner_service', %(owner)s || (n %% %(owners)s)::text,
                'task_type', %(task_type)s::text,
                'model_profile', %(profile)s::text,
                'input', %(input)s::json
            ))
            from generate_series(1, %(count)s) as n
        ))
        """,
        {
            "owner": OWNER,
            "owners": owners,
            "task_type": TASK_TYPE,
            "profile": PROFILE,
            "input": INPUT,
            "count": count,
        },
    )


def is_drained(connection: Connection) -> bool:
    """Whether no job of the backlog is ready or running. Looks where jobs lie: to ask the view would be load."""
    row = connection.execute(
        """
        select not exists (
            select from aiserv.ready as ready where ready.queue_key = aiserv._queue_key(%(profile)s, %(task_type)s)
        )
           and not exists (select from aiserv.lease)
        """,
        {"profile": PROFILE, "task_type": TASK_TYPE},
        # A plan for any queue would read the million jobs of another one.
        prepare=False,
    ).fetchone()
    return bool(row and row[0])


def empty(connection: Connection) -> None:
    """Take all jobs away, so that the next figure begins where the one before began."""
    tables = connection.execute(
        "select format('%I.%I', schemaname, tablename) from pg_tables"
        " where schemaname = 'aiserv' and tablename not in ('installed', 'worker')"
    ).fetchall()
    names = ", ".join(name for (name,) in tables)
    # A server or a worker may just look at them: we give way, before there is a deadlock.
    for _ in range(TRUNCATE_ATTEMPTS):
        with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
            connection.execute("set local lock_timeout = '50ms'")
            connection.execute(f"truncate {names}".encode())
            return
    raise psycopg.errors.LockNotAvailable("the tables of the benchmark are always locked")


def finished(connection: Connection, count: int, *, after: int = 0, small: bool = False) -> None:
    """Put so many completed jobs into the table beside those put there before, with the counters that belong to them.

    They are copies of one that went the whole way, so that they look as such a job does whatever its columns are.
    """
    job_id = _one(connection, "done", "'{}'" if small else f"'{INPUT}'")
    connection.execute("select count(*) from aiserv.claim_jobs(worker_id => 'bench', model_profiles => '{done}')")
    connection.execute("select aiserv.complete_job(job_id => %s, result => '{\"ok\": true}')", [job_id])
    connection.execute("select aiserv.sweep(retention => '0')")
    if small:
        # Nothing of these is ever written again, and there are very many.
        connection.execute("alter table aiserv.job set (fillfactor = 100, autovacuum_enabled = off)")
    _copy(connection, "job", "id", job_id, count=count, offset=after)
    connection.execute(
        """
        update aiserv.tally
        set total = total + case when minute = '-infinity' then %(count)s else 0 end, completed = completed + %(count)s
        where model_profile = 'done'
        """,
        {"count": count - 1},
    )
    connection.execute("vacuum (analyze) aiserv.job")


def others(connection: Connection, count: int, owners: int = 100) -> None:
    """Put so many jobs of another kind, and as many scheduled ones of the backlog's own, of many owners each."""
    owner = {"owner_service": sql.SQL("'other' || (n % {})::text").format(owners)}
    job_id = _one(connection, "other", f"'{INPUT}'")
    _copy(connection, "job", "id", job_id, count=count, replaced=owner)
    _copy(connection, "ready", "job_id", job_id, count=count, replaced=owner)
    job_id = _one(connection, PROFILE, f"'{INPUT}'", delay="30 days")
    _copy(connection, "job", "id", job_id, count=count, replaced=owner, offset=count)
    _copy(connection, "scheduled", "job_id", job_id, count=count, replaced=owner, offset=count)
    connection.execute(
        """
        insert into aiserv.delta (minute, owner_service, task_type, model_profile, total, scheduled)
        select date_trunc('minute', now()), 'other' || n, %(task_type)s, profile, %(each)s,
               case when profile = 'other' then 0 else %(each)s end
        from generate_series(0, %(owners)s - 1) as n, unnest(array['other', %(profile)s]) as profile
        """,
        {"task_type": TASK_TYPE, "profile": PROFILE, "each": count // owners, "owners": owners},
    )
    for table in ("job", "ready", "scheduled"):
        connection.execute(f"vacuum (analyze) aiserv.{table}".encode())


def _one(connection: Connection, profile: str, input_json: str, delay: str | None = None) -> str:
    row = connection.execute(
        f"""
        select job.id::text from aiserv.create_job(
            owner_service => %s, task_type => %s, model_profile => %s, input => {input_json}, delay => %s::interval
        ) as job
        """.encode(),
        [OWNER, TASK_TYPE, profile, delay],
    ).fetchone()
    assert row
    return str(row[0])


def _copy(
    connection: Connection,
    table: LiteralString,
    key: str,
    job_id: str,
    *,
    count: int,
    replaced: Mapping[str, sql.Composable] = MappingProxyType({}),
    offset: int = 0,
) -> None:
    """Insert so many copies of the job's row, without triggers, each with an id of its own."""
    names = [
        name
        for (name,) in connection.execute(
            "select attname from pg_attribute"
            " where attrelid = %s::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
            [f"aiserv.{table}"],
        ).fetchall()
    ]
    values: dict[str, sql.Composable] = {key: sql.SQL(NTH_ID), **replaced}
    with connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(
            sql.SQL(
                "insert into aiserv.{table} ({columns}) select {values} from aiserv.{table} as model,"
                " generate_series({first}, {last}) as n where model.{key} = {id}"
            ).format(
                table=sql.Identifier(table),
                columns=sql.SQL(", ").join(map(sql.Identifier, names)),
                values=sql.SQL(", ").join(values.get(name, sql.Identifier("model", name)) for name in names),
                first=offset + 1,
                last=offset + count - 1,
                key=sql.Identifier(key),
                id=sql.Literal(job_id),
            )
        )
