create or replace function aiserv.complete_job(
    job_id    uuid,
    result    json,
    attempt   integer default null,
    worker_id text    default null,
    usage     json    default null
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
    answer    aiserv.settlement;
    completed bigint[];
begin
    perform aiserv._check_completion(complete_job.result, complete_job.usage);
    completed := aiserv._complete(
        array[complete_job.job_id], array[complete_job.attempt], array[complete_job.worker_id], array[complete_job.result],
        array[complete_job.usage]
    );

    -- Explain only after it matched nothing: a repeat returns the job, anything else raises.
    if completed = '{}' then
        answer := aiserv._completion_answer(
            complete_job.job_id, complete_job.attempt, complete_job.worker_id, complete_job.result
        );
    else
        answer.id := complete_job.job_id;
    end if;
    return aiserv._answer(answer);
end;
$$;

comment on function aiserv.complete_job is
'Store the result of a running job and finish it. attempt is what the claim returned: without it whoever runs the job is meant.
A repeat by the same attempt with the same result returns the job unchanged.
Raises JN404 (no such job), JL409 (attempt or worker no longer holds it), JS409 (it is not running), JV400 (no result, malformed
usage).';
