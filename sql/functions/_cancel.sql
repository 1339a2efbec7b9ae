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
    waiting uuid[]         := array[]::uuid[];
    running aiserv.lease[] := array[]::aiserv.lease[];
    gone    uuid[];
    moment  timestamptz;
begin
    if 'pending' = any(_cancel.statuses) then
        waiting := aiserv._unplace(_cancel.job_ids);
    end if;
    if 'running' = any(_cancel.statuses) then
        running := aiserv._unlease(_cancel.job_ids);
    end if;

    moment := clock_timestamp();
    gone := waiting || array(select lease.job_id from unnest(running) as lease);
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
    from (
        select lease.job_id, lease.attempt, lease.worker_id, lease.started_at from unnest(running) as lease
        union all
        select waited.job_id, null, null, null from unnest(waiting) as waited(job_id)
    ) as lease
    where job.id = any(array[lease.job_id]);
    perform set_config('aiserv.moving', '', true);

    perform aiserv._remember_unsuccessful(gone);
    return gone;
end;
$$;

comment on function aiserv._cancel is
'Cancel those of the jobs that are pending or running, or only those with one of these statuses, and return their ids. A job that
moves from place to place meanwhile may be missed: look, and call again.';
