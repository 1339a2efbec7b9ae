create or replace function aiserv._fail(
    job_id      uuid,
    category    text,
    message     text,
    attempt     integer,
    worker_id   text,
    retryable   boolean,
    retry_after interval,
    usage       json
)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
    held   aiserv.lease;
    moment timestamptz := clock_timestamp();
    again  boolean;
begin
    -- The lease row is the right to settle.
    delete from aiserv.lease as lease
    where lease.job_id = _fail.job_id
      and lease.attempt = coalesce(_fail.attempt, lease.attempt)
      and lease.worker_id = coalesce(_fail.worker_id, lease.worker_id)
    returning lease.* into held;
    if not found then
        return false;
    end if;

    update aiserv.job as job
    set attempt = held.attempt,
        failures = job.failures + _fail.retryable::integer,
        lost_leases = 0,
        started_at = held.started_at,
        updated_at = moment,
        usage = _fail.usage,
        error_category = _fail.category,
        error_message = left(_fail.message, 10000),
        run_at = case
            when _fail.retryable and job.failures + 1 < job.max_attempts
                then moment + coalesce(_fail.retry_after, aiserv._backoff(job.failures + 1))
            else job.run_at
        end,
        outcome = case when _fail.retryable and job.failures + 1 < job.max_attempts then null else 'failed' end,
        finished_at = case when _fail.retryable and job.failures + 1 < job.max_attempts then null else moment end,
        worker_id = case when _fail.retryable and job.failures + 1 < job.max_attempts then null else held.worker_id end
    where job.id = held.job_id
    returning job.outcome is null into again;

    insert into aiserv.attempt (
        job_id, attempt, worker_id, started_at, finished_at, outcome, retryable, error_category, error_message
    )
    values (
        held.job_id, held.attempt, held.worker_id, held.started_at, moment,
        case when again then 'retrying' else 'failed' end, _fail.retryable, _fail.category, left(_fail.message, 10000)
    );

    if again then
        perform aiserv._place(array[held.job_id]);
    else
        perform aiserv._remember_unsuccessful(array[held.job_id]);
    end if;
    return true;
end;
$$;

comment on function aiserv._fail is
'End the running attempt with a failure, if the given attempt and worker hold it: pending again when it is retryable and not
failure number max_attempts, else failed. Returns whether they held it.';
