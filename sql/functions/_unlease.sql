create or replace function aiserv._unlease(job_ids uuid[])
returns aiserv.lease[]
language plpgsql
set search_path = pg_temp
as $$
declare
    unleased aiserv.lease[];
begin
    with taken as (
        delete from aiserv.lease as lease
        where lease.job_id = any(array(
            select held.job_id
            from aiserv.lease as held
            where held.job_id = any(_unlease.job_ids)
            order by held.job_id
            for update
        ))
        returning lease.*
    )
    select coalesce(array_agg(taken.*::aiserv.lease), '{}') into unleased from taken;
    return unleased;
end;
$$;

comment on function aiserv._unlease is 'Take those of the jobs that run from their workers, and return their leases.';
