create or replace function aiserv._unplace(job_ids uuid[])
returns uuid[]
language plpgsql
set search_path = pg_temp
as $$
declare
    unplaced uuid[];
begin
    with asked as materialized (
        -- One by one, in order of id: planned while there were few, a join might read all that wait for each job.
        select job.*
        from (select distinct named.id from unnest(_unplace.job_ids) as named(id) order by named.id) as named
        cross join lateral (
            select known.id, known.model_profile, known.task_type, known.priority, known.owner_service, known.run_at
            from aiserv.job as known
            where known.id = named.id
            limit 1
        ) as job
    ),
    due as materialized (
        select (
            select ready.ctid
            from aiserv.ready as ready
            where ready.queue_key = aiserv._queue_key(asked.model_profile, asked.task_type)
              and ready.priority = asked.priority and ready.owner_key = aiserv._owner_key(asked.owner_service)
              and ready.run_at = asked.run_at and ready.job_id = asked.id
            for update
        ) as place
        from asked
    ),
    later as materialized (
        select (
            select scheduled.ctid
            from aiserv.scheduled as scheduled
            where scheduled.model_profile = asked.model_profile and scheduled.task_type = asked.task_type
              and scheduled.run_at = asked.run_at and scheduled.job_id = asked.id
            for update
        ) as place
        from asked
    ),
    left_ready as (
        delete from aiserv.ready as ready using due where ready.ctid = due.place returning ready.job_id
    ),
    left_scheduled as (
        delete from aiserv.scheduled as scheduled using later where scheduled.ctid = later.place returning scheduled.job_id
    )
    select coalesce(array_agg(taken.job_id), '{}') into unplaced
    from (select left_ready.job_id from left_ready union all select left_scheduled.job_id from left_scheduled) as taken;
    return unplaced;
end;
$$;

comment on function aiserv._unplace is
'Take those of the jobs that wait out of their places, aiserv.ready and aiserv.scheduled, and return their ids.';
