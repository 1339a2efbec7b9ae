create or replace function aiserv._matching_ids(
    filter   aiserv._filter,
    after    uuid,
    sort     text,
    max_jobs integer
)
returns uuid[]
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    conditions text := aiserv._conditions(filter, _matching_ids.after, _matching_ids.sort);
    direction  text := case _matching_ids.sort when 'newest' then 'desc' else 'asc' end;
    arms       text;
    matching   uuid[];
begin
    -- Status decides the table: the narrow one that holds such jobs. Joined by its whole key, so that the
    -- planner may walk the few rows there as well as the newest jobs.
    select string_agg(
        format('(select job.id from aiserv.job as job %s where %s order by job.id %s limit $3)', arm.source, conditions, direction),
        ' union all '
    ) into arms
    from (
        values
            (array[null], ''),
            (
                array['pending'],
                'join aiserv.ready as ready on ready.queue_key = aiserv._queue_key(job.model_profile, job.task_type)'
                ' and ready.priority = job.priority and ready.owner_key = aiserv._owner_key(job.owner_service)'
                ' and ready.run_at = job.run_at and ready.job_id = job.id'
            ),
            (
                array['pending'],
                'join aiserv.scheduled as scheduled on scheduled.model_profile = job.model_profile'
                ' and scheduled.task_type = job.task_type and scheduled.run_at = job.run_at and scheduled.job_id = job.id'
            ),
            (array['running'], 'join aiserv.lease as lease on lease.job_id = job.id'),
            (array['completed'], 'join (values (''completed'')) as done(outcome) on done.outcome = job.outcome'),
            (
                array['failed', 'cancelled'],
                'join aiserv.unsuccessful as unsuccessful on unsuccessful.job_id = job.id and unsuccessful.outcome = any($1.status)'
            )
    ) as arm(statuses, source)
    where case when filter.status is null then arm.source = '' else arm.statuses && filter.status end;

    -- A batch knows its members: walked in their order and with any status, each is looked at once in all pages together.
    if filter.batch_id is not null then
        arms := format(
            'select job.id from ('
            'select distinct listed.id from aiserv.batch as batch cross join lateral unnest(batch.job_ids) as listed(id)'
            ' where batch.id = any($1.batch_id) and ($2 is null or listed.id %s $2) order by listed.id %s'
            ') as member join aiserv.jobs as job on job.id = member.id'
            ' where ($1.status is null or job.status = any($1.status)) and %s order by job.id %s limit $3',
            case direction when 'asc' then '>' else '<' end, direction, conditions, direction
        );
    end if;

    execute format('select array(select id from (%s) as job order by id %s limit $3)', arms, direction)
    into matching
    using filter, _matching_ids.after, _matching_ids.max_jobs;
    return matching;
end;
$$;

comment on function aiserv._matching_ids is
'The ids of up to max_jobs jobs that match the filter, past the id after, newest or oldest first.';
