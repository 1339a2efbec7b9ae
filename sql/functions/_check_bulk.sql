create or replace function aiserv._check_bulk(
    filter    aiserv._filter,
    statuses  text[],
    max_jobs  integer,
    match_all boolean
)
returns void
language plpgsql
immutable
set search_path = pg_temp
as $$
begin
    if filter is null and _check_bulk.match_all is not true then
        raise exception using
            errcode = 'JE400',
            message = 'no condition was given',
            detail = 'Without one, every job would be meant.',
            hint = 'Give a condition, or match_all => true.';
    elsif _check_bulk.max_jobs < 1 then
        raise exception using errcode = 'JV400', message = 'max_jobs: must be at least 1';
    end if;
    perform aiserv._check_filter(filter, _check_bulk.statuses);
end;
$$;

comment on function aiserv._check_bulk is 'Raise JE400 when a bulk verb was given no condition, JV400 when one makes no sense.';
