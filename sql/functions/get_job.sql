create or replace function aiserv.get_job(job_id uuid)
returns aiserv.jobs
language plpgsql
stable
security definer
set search_path = pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    answer aiserv.jobs;
begin
    select job.* into answer from aiserv.jobs as job where job.id = get_job.job_id;
    if not found then
        return aiserv._answer(aiserv._settlement(get_job.job_id, null, null, repeated => false));
    end if;
    return answer;
end;
$$;

comment on function aiserv.get_job is 'The job as it is now. Raises JN404 (no such job).';
