create or replace function aiserv.check_installation(patience interval default '5 minutes')
returns setof aiserv.finding
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return query
    select seen.* from aiserv.inspect_server() as seen
    union all
    select seen.* from aiserv.inspect_replication() as seen
    union all
    select seen.* from aiserv.inspect_upkeep(check_installation.patience) as seen
    union all
    select seen.* from aiserv.inspect_rights() as seen
    union all
    select seen.* from aiserv.inspect_shape() as seen
    union all
    select seen.* from aiserv.inspect_work() as seen;
end;
$$;

comment on function aiserv.check_installation is
'What is wrong with this installation, as far as PostgreSQL can see it with the rights of who asks: a topic, a status (ok, warning
or problem), what was found, and what to do. patience is how long a transaction may be open. aiserv doctor looks at the rest.';
