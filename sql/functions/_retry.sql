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
    superseded aiserv.lease[];
    retried    uuid[];
    moment     timestamptz;
begin
    -- A running job gives up its lease, a failed one its row in aiserv.unsuccessful: whoever deletes it retries.
    with held as materialized (
        select lease.job_id
        from aiserv.lease as lease
        where lease.job_id = any(_retry.job_ids) and 'running' = any(_retry.statuses)
        order by lease.job_id
        for update
    ),
    gone as (
        -- `between`: see _complete.
        delete from aiserv.lease as lease using held where lease.job_id between held.job_id and held.job_id returning lease.*
    )
    select coalesce(array_agg(gone.*::aiserv.lease), '{}') into superseded from gone;

    with failed as materialized (
        select unsuccessful.job_id
        from aiserv.unsuccessful as unsuccessful
        where unsuccessful.job_id = any(_retry.job_ids) and unsuccessful.outcome = 'failed' and 'failed' = any(_retry.statuses)
        order by unsuccessful.job_id
        for update
    ),
    gone as (
        delete from aiserv.unsuccessful as unsuccessful
        using failed
        where unsuccessful.job_id between failed.job_id and failed.job_id
        returning unsuccessful.job_id
    )
    select coalesce(array_agg(gone.job_id), '{}') || array(select lease.job_id from unnest(superseded) as lease) into retried
    from gone;

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
    from unnest(retried) as again(job_id)
    left join unnest(superseded) as lease on lease.job_id = again.job_id
    where job.id = any(array[again.job_id]);

    perform aiserv._place(retried, moment);
    return retried;
end;
$$;

comment on function aiserv._retry is 'Make those of the jobs that are running or failed, or only those with one of these statuses, pending again with a clean slate, and
return their ids.';
