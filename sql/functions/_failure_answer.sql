create or replace function aiserv._failure_answer(
    job_id    uuid,
    category  text,
    message   text,
    attempt   integer,
    worker_id text,
    retryable boolean
)
returns aiserv.settlement
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return aiserv._settlement(
        _failure_answer.job_id, _failure_answer.attempt, _failure_answer.worker_id,
        repeated => exists (
            select
            from aiserv.jobs as job
            join aiserv.attempt as attempt on attempt.job_id = job.id and attempt.attempt = job.attempt
            where job.id = _failure_answer.job_id
              and job.status in ('pending', 'failed')
              and attempt.outcome in ('retrying', 'failed')
              and attempt.attempt = coalesce(_failure_answer.attempt, attempt.attempt)
              and attempt.error_category = _failure_answer.category
              and attempt.error_message = left(_failure_answer.message, 10000)
              and attempt.retryable = _failure_answer.retryable
              -- What a retry has cleared is no longer shown, and so not repeated.
              and job.error_category = attempt.error_category
        )
    );
end;
$$;

comment on function aiserv._failure_answer is 'What to say to a failure that took nothing: a repeat, or a refusal.';
