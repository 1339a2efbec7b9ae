create or replace function aiserv.list_attempts(job_id uuid)
returns setof aiserv.attempts
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
begin
    perform aiserv.get_job(list_attempts.job_id);
    return query
    select attempt.* from aiserv.attempts as attempt where attempt.job_id = list_attempts.job_id order by attempt.attempt;
end;
$$;

comment on function aiserv.list_attempts is
'The attempts of a job, oldest first; the running one has no outcome yet. Raises JN404 (no such job).';
