create or replace function aiserv._requeue(
    held    aiserv.lease[],
    outcome text,
    delay   interval default null
)
returns void
language plpgsql
set search_path = ''
as $$
declare
    moment timestamptz := clock_timestamp();
begin
    -- The error of an earlier attempt stays to be seen; without a delay the job keeps its place in the line.
    update aiserv.job as job
    set attempt = lease.attempt,
        lost_leases = case when _requeue.outcome = 'lease_expired' then job.lost_leases + 1 else 0 end,
        started_at = lease.started_at,
        updated_at = moment,
        run_at = coalesce(moment + _requeue.delay, job.run_at)
    from unnest(_requeue.held) as lease
    where job.id = lease.job_id;

    insert into aiserv.attempt (job_id, attempt, worker_id, started_at, finished_at, outcome)
    select lease.job_id, lease.attempt, lease.worker_id, lease.started_at, moment, _requeue.outcome
    from unnest(_requeue.held) as lease;

    perform aiserv._place(array(select lease.job_id from unnest(_requeue.held) as lease));
end;
$$;

comment on function aiserv._requeue is
'Make jobs whose lease has just been deleted pending again, through no fault of theirs: outcome released or lease_expired.';
