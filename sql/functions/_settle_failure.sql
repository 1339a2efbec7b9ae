create or replace function aiserv._settle_failure(item json)
returns aiserv.settlement
language plpgsql
set search_path = pg_temp
as $$
declare
    job_id    uuid    := (item ->> 'id')::uuid;
    attempt   integer := (item ->> 'attempt')::integer;
    worker_id text    := item ->> 'worker_id';
    retryable boolean := coalesce((item ->> 'retryable')::boolean, false);
    answer    aiserv.settlement;
begin
    if aiserv._fail(
        job_id, item ->> 'category', item ->> 'message', attempt, worker_id, retryable, (item ->> 'retry_after')::interval,
        nullif((item -> 'usage')::text, 'null')::json
    ) then
        select shown.id, shown.status into answer.id, answer.status from aiserv.jobs as shown where shown.id = job_id;
        return answer;
    end if;
    return aiserv._failure_answer(job_id, item ->> 'category', item ->> 'message', attempt, worker_id, retryable);
end;
$$;

comment on function aiserv._settle_failure is 'Fail the job of one item of settle_jobs and say what became of it.';
