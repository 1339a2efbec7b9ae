"""Time passes without a hook in what is tested: everything in a database becomes older, ids included."""

from datetime import timedelta

from tests.sql.calls import Db

TABLES = """
select table_name, string_agg(
    case
        when data_type = 'timestamp with time zone' then format('%1$I = %1$I - %%(by)s', column_name)
        when data_type = 'ARRAY'
        then format('%1$I = case when %1$I is not null then array('
            'select pg_temp.older(x, %%(by)s) from unnest(%1$I) as x) end', column_name)
        else format('%1$I = pg_temp.older(%1$I, %%(by)s)', column_name)
    end, ', ') as changes
from information_schema.columns join information_schema.tables using (table_schema, table_name)
where table_schema = 'aiserv' and table_type = 'BASE TABLE' and table_name not in ('installed', 'delta', 'tally')
  and (data_type = 'timestamp with time zone' or column_name in ('job_id', 'job_ids', 'probe_job_id')
       or table_name = 'job' and column_name = 'id')
group by table_name
"""
OLDER = """
create function pg_temp.older(id uuid, by interval) returns uuid language sql immutable as $$
    select encode(
        int8send(('x' || encode(substring(uuid_send(id) for 8), 'hex'))::bit(64)::bigint
            - ((extract(epoch from by) * 1000)::bigint << 16)) || substring(uuid_send(id) from 9),
        'hex')::uuid
$$
"""


def prepare(db: Db) -> None:
    db.execute(OLDER)


def grow_older(db: Db, by: timedelta) -> None:
    """Make everything so much older. Raises psycopg.Error where the connection was not prepared."""
    with db.transaction():
        db.execute("set local session_replication_role = replica")  # no trigger fires
        for table in db.execute(TABLES).fetchall():
            db.execute(f"update aiserv.{table['table_name']} set {table['changes']}".encode(), {"by": by})
