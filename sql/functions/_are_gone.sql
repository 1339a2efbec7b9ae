create or replace function aiserv._are_gone(job_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    -- The last first, as the oldest go first; then no further than to one that is there: listed by `select`, as `from` would list
    -- all of them. One by one, as a join might read all jobs there are for each batch.
    return not exists (
        select
        from (
            select _are_gone.job_ids[cardinality(_are_gone.job_ids)] as job_id
            union all
            select unnest(_are_gone.job_ids)
        ) as member
        cross join lateral (select from aiserv.job as known where known.id = member.job_id limit 1) as job
    );
end;
$$;

comment on function aiserv._are_gone is 'Whether none of these jobs is there any more.';
