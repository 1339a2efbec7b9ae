create or replace function aiserv._known_jobs(job_ids uuid[])
returns aiserv.jobs[]
language plpgsql
set search_path = pg_temp
as $$
declare
    known aiserv.jobs[];
begin
    select array_agg(job::aiserv.jobs order by wanted.place) into known
    from unnest(_known_jobs.job_ids) with ordinality as wanted(id, place)
    cross join lateral (select shown.* from aiserv.jobs as shown where shown.id = wanted.id limit 1) as job;

    if cardinality(known) < cardinality(_known_jobs.job_ids) then
        raise exception using errcode = '55P03', message = 'the job of an idempotency key has just been deleted';
    end if;
    return known;
end;
$$;

comment on function aiserv._known_jobs is
'These jobs as they are now, in their order; null if all have been deleted. Raises 55P03 if some have.';
