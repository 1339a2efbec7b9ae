create or replace function aiserv._settings_keys(model_profiles text[])
returns bigint[]
language plpgsql
immutable
set search_path = pg_temp
as $$
begin
    if coalesce(cardinality(_settings_keys.model_profiles), 0) <= 1 then
        return array[aiserv._settings_key(_settings_keys.model_profiles[1])];
    end if;
    return array(
        select distinct aiserv._settings_key(profile.name) from unnest(_settings_keys.model_profiles) as profile(name) order by 1
    );
end;
$$;

comment on function aiserv._settings_keys is
'The advisory locks of the settings of these model profiles, each once and in order; of none or null, that of claims that name no
profile.';
