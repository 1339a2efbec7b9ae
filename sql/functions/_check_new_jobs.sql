create or replace function aiserv._check_new_jobs(items aiserv._new_job[])
returns void
language plpgsql
set search_path = ''
as $$
declare
    bad record;
begin
    select unsound.* into bad from aiserv._unsound(_check_new_jobs.items) as unsound order by unsound.place limit 1;
    if found then
        raise exception using
            errcode = 'JV400',
            message = case when cardinality(_check_new_jobs.items) > 1 then format('jobs[%s].', bad.place - 1) else '' end
                || bad.complaint;
    end if;
end;
$$;

comment on function aiserv._check_new_jobs is 'Raise JV400, naming the item and the field, when a job to be created makes no sense.';
