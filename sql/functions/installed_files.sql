create or replace function aiserv.installed_files()
returns setof aiserv.installed
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
begin
    return query
    select installed.* from aiserv.installed as installed order by installed.file;
end;
$$;

comment on function aiserv.installed_files is
'The files of sql/ that this schema was made of, as they were then: how a server finds out whether it fits.';
