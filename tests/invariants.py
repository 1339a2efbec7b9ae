"""What holds of every database of ours at every moment, whatever was done to it. Nothing here knows of the package."""

from typing import Any

import psycopg
from psycopg.rows import tuple_row

COUNTERS = """
with counted as (
    select counter.owner_service, counter.task_type, counter.model_profile, counter.error_category,
        sum(counter.total) as total, sum(counter.scheduled) as scheduled, sum(counter.completed) as completed,
        sum(counter.failed) as failed, sum(counter.cancelled) as cancelled
    from aiserv._counters as counter
    group by 1, 2, 3, 4
),
actual as (
    select owner_service, task_type, model_profile, error_category,
        sum(total) as total, sum(scheduled) as scheduled, sum(completed) as completed, sum(failed) as failed,
        sum(cancelled) as cancelled
    from (
        select owner_service, task_type, model_profile, '' as error_category, count(*) as total, 0 as scheduled,
            count(*) filter (where outcome = 'completed') as completed, 0 as failed, 0 as cancelled
        from aiserv.job
        group by 1, 2, 3
        union all
        select owner_service, task_type, model_profile, '', 0, count(*), 0, 0, 0 from aiserv.scheduled group by 1, 2, 3
        union all
        select owner_service, task_type, model_profile, coalesce(error_category, ''), 0, 0, 0,
            count(*) filter (where outcome = 'failed'), count(*) filter (where outcome = 'cancelled')
        from aiserv.job
        where outcome in ('failed', 'cancelled')
        group by 1, 2, 3, 4
    ) as part
    group by 1, 2, 3, 4
),
compared as (
    select owner_service, task_type, model_profile, error_category,
        array[
            coalesce(counted.total, 0), coalesce(counted.scheduled, 0), coalesce(counted.completed, 0),
            coalesce(counted.failed, 0), coalesce(counted.cancelled, 0)
        ] as counted,
        array[
            coalesce(actual.total, 0), coalesce(actual.scheduled, 0), coalesce(actual.completed, 0),
            coalesce(actual.failed, 0), coalesce(actual.cancelled, 0)
        ] as actual
    from counted full join actual using (owner_service, task_type, model_profile, error_category)
)
select format('%s %s %s %s: total, scheduled, completed, failed, cancelled are %s, counted %s',
    owner_service, task_type, model_profile, error_category, actual, counted)
from compared
where counted <> actual
"""

PLACES = """
select format('job %s with outcome %s lies in %s', job.id, job.outcome, coalesce(place.names, 'no place'))
from aiserv.job as job
full join (
    select job_id, string_agg(name, ', ') as names
    from (
        select 'ready' as name, job_id from aiserv.ready
        union all select 'scheduled', job_id from aiserv.scheduled
        union all select 'lease', job_id from aiserv.lease
        union all select outcome, job_id from aiserv.unsuccessful
    ) as spot
    group by job_id
) as place on place.job_id = job.id
where job.id is null
   or case
        when job.outcome = 'completed' then place.names is not null
        when job.outcome is not null then place.names is distinct from job.outcome
        else place.names is null or place.names not in ('ready', 'scheduled', 'lease')
    end
"""


def broken(connection: psycopg.Connection[Any]) -> list[str]:
    """What is wrong: counters that differ from `count(*)`, jobs in two places, in none, or in a wrong one."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [text for query in (COUNTERS, PLACES) for (text,) in cursor.execute(query).fetchall()]
