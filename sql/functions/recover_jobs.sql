create or replace function aiserv.recover_jobs(max_jobs integer default 1000)
returns setof aiserv.jobs
language plpgsql
security definer
set search_path = pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    lost   aiserv.lease[];
    fatal  uuid[];
    moment timestamptz;
begin
    -- As nearly always: none is over, or there is none. That look passes over those long gone, which this statement could not.
    if coalesce(aiserv._first_expiry(), 'infinity') >= clock_timestamp() then
        return;
    end if;
    -- Judged and deleted in one statement: a lease that is renewed or settled meanwhile is left alone.
    with gone as (
        delete from aiserv.lease as lease
        where lease.job_id = any(array(
            select expired.job_id
            from aiserv.lease as expired
            where expired.lease_expires_at < clock_timestamp()
            order by expired.job_id
            limit recover_jobs.max_jobs
            for update skip locked
        )) and lease.lease_expires_at < clock_timestamp()
        returning lease.*
    )
    select array_agg(gone.*::aiserv.lease order by gone.job_id) into lost from gone;
    if lost is null then
        return;
    end if;

    -- A job that takes its worker down with it must not do so for ever.
    moment := clock_timestamp();
    with finished as (
        update aiserv.job as job
        set outcome = 'failed',
            attempt = lease.attempt,
            lost_leases = job.lost_leases + 1,
            worker_id = lease.worker_id,
            started_at = lease.started_at,
            updated_at = moment,
            finished_at = moment,
            error_category = 'lease_expired',
            error_message = format('%s leases in a row expired: the workers that ran it died or were cut off', job.lost_leases + 1)
        from unnest(lost) as lease
        where job.id = any(array[lease.job_id]) and job.lost_leases >= 2
        returning job.id, lease.attempt, lease.worker_id, lease.started_at, job.error_category, job.error_message
    ),
    history as (
        insert into aiserv.attempt (
            job_id, attempt, worker_id, started_at, finished_at, outcome, error_category, error_message
        )
        select
            finished.id, finished.attempt, finished.worker_id, finished.started_at, moment, 'lease_expired',
            finished.error_category, finished.error_message
        from finished
    )
    select coalesce(array_agg(finished.id), '{}') into fatal from finished;
    perform aiserv._remember_unsuccessful(fatal);
    perform aiserv._requeue(
        array(select lease.*::aiserv.lease from unnest(lost) as lease where lease.job_id <> all(fatal)), 'lease_expired'
    );

    return query
    select job.*
    from unnest(lost) as lease
    cross join lateral (select shown.* from aiserv.jobs as shown where shown.id = lease.job_id limit 1) as job
    order by job.id;
end;
$$;

comment on function aiserv.recover_jobs is
'Take jobs whose lease is over from workers that died: pending at once in their old place, or failed with lease_expired after the
third lost lease in a row. Returns them. Servers call it when a lease runs out, claims that come back short call it first;
any number may run at once.';
