create or replace function aiserv._requeue(
    held     aiserv.lease[],
    outcome  text,
    delay    interval default null,
    category text     default null,
    message  text     default null
)
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    moment timestamptz := clock_timestamp();
begin
    -- The error of an earlier attempt stays to be seen; without a delay the job keeps its place in the line, but for one whose
    -- provider was in trouble: was the trouble its own making, the next probe must be another job.
    update aiserv.job as job
    set attempt = lease.attempt,
        lost_leases = case when _requeue.outcome = 'lease_expired' then job.lost_leases + 1 else 0 end,
        started_at = lease.started_at,
        updated_at = moment,
        first_claim_at = coalesce(job.first_claim_at, lease.started_at),
        error_category = coalesce(_requeue.category, job.error_category),
        error_message = case when _requeue.category is null then job.error_message else left(_requeue.message, 10000) end,
        run_at = case
            when _requeue.delay is not null then moment + _requeue.delay
            when _requeue.category is not null then moment
            else job.run_at
        end
    from unnest(_requeue.held) as lease
    where job.id = any(array[lease.job_id]);

    insert into aiserv.attempt (job_id, attempt, worker_id, started_at, finished_at, outcome, error_category, error_message)
    select
        lease.job_id, lease.attempt, lease.worker_id, lease.started_at, moment, _requeue.outcome, _requeue.category,
        left(_requeue.message, 10000)
    from unnest(_requeue.held) as lease;

    -- What has been claimed was due, and stays so in its old place even when the clock has gone back since.
    perform aiserv._place(
        array(select lease.job_id from unnest(_requeue.held) as lease),
        case when _requeue.delay is null then 'infinity' else moment end
    );
end;
$$;

comment on function aiserv._requeue is
'Make jobs whose lease has just been deleted pending again, through no fault of theirs: outcome released (with a category when
their provider was in trouble) or lease_expired.';
