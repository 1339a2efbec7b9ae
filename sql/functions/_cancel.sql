create or replace function aiserv._cancel(
    job_ids  uuid[],
    reason   text,
    statuses text[] default '{pending,running}'
)
returns uuid[]
language plpgsql
set search_path = pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    waiting uuid[];
    later   uuid[];
    running aiserv.lease[];
    gone    uuid[];
    moment  timestamptz;
begin
    with held as materialized (
        -- One by one, in order of id: planned while there were few, a join might read all that wait for each job.
        select ready.place
        from (select distinct asked.id from unnest(_cancel.job_ids) as asked(id) order by asked.id) as asked
        cross join lateral (select known.* from aiserv.job as known where known.id = asked.id limit 1) as job
        cross join lateral (
            select waiting.ctid as place
            from aiserv.ready as waiting
            where waiting.model_profile = job.model_profile and waiting.task_type = job.task_type
              and waiting.priority = job.priority and waiting.owner_service = job.owner_service
              and waiting.run_at = job.run_at and waiting.job_id = job.id
            limit 1
            for update
        ) as ready
        where 'pending' = any(_cancel.statuses)
    ),
    taken as (
        delete from aiserv.ready as ready using held where ready.ctid = held.place returning ready.job_id
    )
    select coalesce(array_agg(taken.job_id), '{}') into waiting from taken;

    with held as materialized (
        select scheduled.place
        from (select distinct asked.id from unnest(_cancel.job_ids) as asked(id) order by asked.id) as asked
        cross join lateral (select known.* from aiserv.job as known where known.id = asked.id limit 1) as job
        cross join lateral (
            select later.ctid as place
            from aiserv.scheduled as later
            where later.model_profile = job.model_profile and later.task_type = job.task_type
              and later.run_at = job.run_at and later.job_id = job.id
            limit 1
            for update
        ) as scheduled
        where 'pending' = any(_cancel.statuses)
    ),
    taken as (
        delete from aiserv.scheduled as scheduled using held where scheduled.ctid = held.place returning scheduled.job_id
    )
    select coalesce(array_agg(taken.job_id), '{}') into later from taken;

    with held as materialized (
        select lease.job_id
        from aiserv.lease as lease
        where lease.job_id = any(_cancel.job_ids) and 'running' = any(_cancel.statuses)
        order by lease.job_id
        for update
    ),
    taken as (
        -- `between`: see _complete.
        delete from aiserv.lease as lease using held where lease.job_id between held.job_id and held.job_id returning lease.*
    )
    select coalesce(array_agg(taken.*::aiserv.lease), '{}') into running from taken;

    moment := clock_timestamp();
    gone := waiting || later || array(select lease.job_id from unnest(running) as lease);
    insert into aiserv.attempt (job_id, attempt, worker_id, started_at, finished_at, outcome, error_message)
    select lease.job_id, lease.attempt, lease.worker_id, lease.started_at, moment, 'cancelled', left(_cancel.reason, 10000)
    from unnest(running) as lease;

    -- Out of its place, and nobody else can put it into another: there is nothing for _guard_outcome to look up.
    perform set_config('aiserv.moving', 'yes', true);
    update aiserv.job as job
    set outcome = 'cancelled',
        attempt = coalesce(lease.attempt, job.attempt),
        worker_id = lease.worker_id,
        started_at = coalesce(lease.started_at, job.started_at),
        updated_at = moment,
        finished_at = moment,
        error_category = null,
        error_message = left(_cancel.reason, 10000)
    from unnest(gone) as cancelled(job_id)
    left join unnest(running) as lease on lease.job_id = cancelled.job_id
    where job.id between cancelled.job_id and cancelled.job_id;
    perform set_config('aiserv.moving', '', true);

    perform aiserv._remember_unsuccessful(gone);
    return gone;
end;
$$;

comment on function aiserv._cancel is 'Cancel those of the jobs that are pending or running, or only those with one of these statuses, and return their ids. A job that
moves from place to place meanwhile may be missed: look, and call again.';
