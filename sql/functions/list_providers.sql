create or replace function aiserv.list_providers()
returns setof aiserv.providers
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
begin
    return query select provider.* from aiserv.providers as provider order by provider.name;
end;
$$;

comment on function aiserv.list_providers is
'The providers in trouble: what kind, since when, until when they pause. One that is well is not listed.';
