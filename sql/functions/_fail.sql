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
set search_path = pg_temp
as $$
declare
    outcome text;
    moment  timestamptz;
begin
    -- The lease row is the right to settle.
    with held as (
        delete from aiserv.lease as lease
        where lease.job_id = _fail.job_id
          and lease.attempt = coalesce(_fail.attempt, lease.attempt)
          and lease.worker_id = coalesce(_fail.worker_id, lease.worker_id)
        returning lease.job_id, lease.attempt, lease.worker_id, lease.started_at, clock_timestamp() as moment
    ),
    judged as (
        select
            held.*,
            job.failures + 1 as failures,
            _fail.retryable and job.failures + 1 < job.max_attempts as again
        from held
        join aiserv.job as job on job.id = _fail.job_id
    ),
    ended as (
        update aiserv.job as job
        set attempt = judged.attempt,
            failures = case when _fail.retryable then judged.failures else job.failures end,
            lost_leases = 0,
            first_claim_at = coalesce(job.first_claim_at, judged.started_at),
            worker_id = case when judged.again then null else judged.worker_id end,
            started_at = judged.started_at,
            updated_at = judged.moment,
            usage = _fail.usage,
            error_category = _fail.category,
            error_message = left(_fail.message, 10000),
            run_at = case
                when judged.again then judged.moment + coalesce(_fail.retry_after, aiserv._backoff(judged.failures))
                else job.run_at
            end,
            outcome = case when judged.again then null else 'failed' end,
            finished_at = case when judged.again then null else judged.moment end
        from judged
        where job.id = _fail.job_id
        returning judged.*, job.error_category, job.error_message
    )
    insert into aiserv.attempt as history (
        job_id, attempt, worker_id, started_at, finished_at, outcome, retryable, error_category, error_message
    )
    select
        ended.job_id, ended.attempt, ended.worker_id, ended.started_at, ended.moment,
        case when ended.again then 'retrying' else 'failed' end, _fail.retryable, ended.error_category, ended.error_message
    from ended
    returning history.outcome, history.finished_at into outcome, moment;

    if outcome = 'retrying' then
        perform aiserv._place(array[_fail.job_id], moment);
    elsif outcome = 'failed' then
        perform aiserv._remember_unsuccessful(array[_fail.job_id]);
    end if;
    return outcome is not null;
end;
$$;

comment on function aiserv._fail is
'End the running attempt with a failure, if the given attempt and worker hold it: pending again when it is retryable and not
failure number max_attempts, else failed. Returns whether they held it.';
