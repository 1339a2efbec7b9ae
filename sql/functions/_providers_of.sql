create or replace function aiserv._providers_of(
    model_profile text,
    providers     jsonb
)
returns setof text
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    if _providers_of.providers ? _providers_of.model_profile then
        return query
        select named.value from jsonb_array_elements_text(_providers_of.providers -> _providers_of.model_profile) as named(value);
        return;
    end if;

    return query
    select serving.provider from aiserv._serving as serving where serving.model_profile = _providers_of.model_profile;
    if not found then
        return next _providers_of.model_profile;
    end if;
end;
$$;

comment on function aiserv._providers_of is
'The providers of a model profile: as the claim names them, else as live workers do, else the one of the same name.';
