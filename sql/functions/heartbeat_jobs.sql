create or replace function aiserv.heartbeat_jobs(
    job_ids  uuid[],
    attempts integer[],
    lease    interval default null
)
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
begin
    if cardinality(heartbeat_jobs.job_ids) is distinct from cardinality(heartbeat_jobs.attempts) then
        raise exception using errcode = 'JV400', message = 'attempts: must be as many as job_ids';
    end if;
    if not (heartbeat_jobs.lease between interval '1 second' and interval '24 hours') then
        raise exception using errcode = 'JV400', message = 'lease: must be from 1s to 24h';
    end if;
    update aiserv.lease as held
    set lease_expires_at = greatest(
            aiserv._expiry(held.lease_expires_at, held.updated_at),
            clock_timestamp() + coalesce(heartbeat_jobs.lease, held.lease)
        ),
        updated_at = clock_timestamp()
    where held.job_id = any(array(
        select found.job_id
        from (
            select given.job_id, given.attempt
            from unnest(heartbeat_jobs.job_ids, heartbeat_jobs.attempts) as given(job_id, attempt)
            order by given.job_id
        ) as item
        -- One by one, in order of id: see _delete_jobs.
        cross join lateral (
            select lease.job_id
            from aiserv.lease as lease
            where lease.job_id = item.job_id and lease.attempt = item.attempt
            limit 1
            -- Whoever holds one lease for long, as an open transaction that cancels its job, must not cost the others.
            for update skip locked
        ) as found
    ));

    return query
    select job.*
    from unnest(heartbeat_jobs.job_ids, heartbeat_jobs.attempts) as item(job_id, attempt)
    cross join lateral (select shown.* from aiserv.jobs as shown where shown.id = item.job_id limit 1) as job
    where job.status = 'running' and job.attempt = item.attempt;
end;
$$;

comment on function aiserv.heartbeat_jobs is
'Renew the leases of many running jobs, each named by id and attempt, and return those still held: the others were
cancelled, taken away or settled, and their runs must stop. A lease that another transaction holds is returned as it is.
lease is how long from now; without it as long as claimed for.
Raises JV400 (arrays of unequal length, lease out of range).';
