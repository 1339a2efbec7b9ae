create or replace function aiserv._completion_answer(
    job_id    uuid,
    attempt   integer,
    worker_id text,
    result    json
)
returns aiserv.settlement
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return aiserv._settlement(
        _completion_answer.job_id, _completion_answer.attempt, _completion_answer.worker_id,
        repeated => exists (
            select
            from aiserv.job as job
            where job.id = _completion_answer.job_id
              and job.outcome = 'completed'
              and job.attempt = coalesce(_completion_answer.attempt, job.attempt)
              and job.result::text = _completion_answer.result::text
        )
    );
end;
$$;

comment on function aiserv._completion_answer is 'What to say to a completion that took nothing: a repeat, or a refusal.';
