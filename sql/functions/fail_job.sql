create or replace function aiserv.fail_job(
    job_id      uuid,
    category    text,
    message     text,
    attempt     integer  default null,
    worker_id   text     default null,
    retryable   boolean  default false,
    retry_after interval default null,
    usage       json     default null
)
returns aiserv.jobs
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
    answer aiserv.settlement;
begin
    perform aiserv._check_failure(fail_job.category, fail_job.message, fail_job.retry_after, fail_job.usage);
    if aiserv._fail(
        fail_job.job_id, fail_job.category, fail_job.message, fail_job.attempt, fail_job.worker_id,
        coalesce(fail_job.retryable, false), fail_job.retry_after, fail_job.usage
    ) then
        answer.id := fail_job.job_id;
    else
        answer := aiserv._failure_answer(
            fail_job.job_id, fail_job.category, fail_job.message, fail_job.attempt, fail_job.worker_id,
            coalesce(fail_job.retryable, false)
        );
    end if;
    return aiserv._answer(answer);
end;
$$;

comment on function aiserv.fail_job is
'End the running attempt with a failure. The job is failed; or, when retryable and this is not failure number max_attempts,
pending again after retry_after or a backoff with jitter. A repeat with the same words returns the job unchanged.
Raises JN404 (no such job), JL409 (attempt or worker no longer holds it), JS409 (it is not running), JV400 (malformed words).';
