create or replace function aiserv._retry(
    job_ids  uuid[],
    statuses text[] default '{failed,running}'
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
    superseded aiserv.lease[] := array[]::aiserv.lease[];
    failed     uuid[];
    retried    uuid[];
    moment     timestamptz;
begin
    -- A running job gives up its lease, a failed one its row in aiserv.unsuccessful: whoever deletes it retries.
    if 'running' = any(_retry.statuses) then
        superseded := aiserv._unlease(_retry.job_ids);
    end if;
    with gone as (
        delete from aiserv.unsuccessful as unsuccessful
        where unsuccessful.job_id = any(array(
            select held.job_id
            from aiserv.unsuccessful as held
            where held.job_id = any(_retry.job_ids) and held.outcome = 'failed' and 'failed' = any(_retry.statuses)
            order by held.job_id
            for update
        ))
        returning unsuccessful.job_id
    )
    select coalesce(array_agg(gone.job_id), '{}') into failed from gone;

    retried := failed || array(select lease.job_id from unnest(superseded) as lease);
    moment := clock_timestamp();
    insert into aiserv.attempt (job_id, attempt, worker_id, started_at, finished_at, outcome)
    select lease.job_id, lease.attempt, lease.worker_id, lease.started_at, moment, 'superseded'
    from unnest(superseded) as lease;

    update aiserv.job as job
    set attempt = coalesce(lease.attempt, job.attempt),
        started_at = coalesce(lease.started_at, job.started_at),
        run_at = moment,
        updated_at = moment,
        failures = 0,
        lost_leases = 0,
        first_claim_at = null,
        worker_id = null,
        finished_at = null,
        outcome = null,
        result = null,
        usage = null,
        error_category = null,
        error_message = null
    from (
        select lease.job_id, lease.attempt, lease.started_at from unnest(superseded) as lease
        union all
        select ended.job_id, null, null from unnest(failed) as ended(job_id)
    ) as lease
    where job.id = any(array[lease.job_id]);

    perform aiserv._place(retried, moment);
    return retried;
end;
$$;

comment on function aiserv._retry is
'Make those of the jobs that are running or failed, or only those with one of these statuses, pending again with a clean slate, and
return their ids.';
