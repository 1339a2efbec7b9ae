create or replace function aiserv.jobs_of_owner(
    job_ids       uuid[],
    owner_service text
)
returns setof uuid
language plpgsql
stable
security definer
set search_path = pg_temp
set enable_seqscan = off
set jit = off
as $$
begin
    return query
    select job.id
    from aiserv.job as job
    where job.id = any(jobs_of_owner.job_ids) and job.owner_service = jobs_of_owner.owner_service;
end;
$$;

comment on function aiserv.jobs_of_owner is
'Those of the jobs that belong to the owner. A job never changes its owner: what is true once may be acted on later.';
