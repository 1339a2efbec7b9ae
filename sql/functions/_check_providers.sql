create or replace function aiserv._check_providers(providers jsonb)
returns void
language plpgsql
immutable
set search_path = ''
as $$
begin
    if jsonb_typeof(_check_providers.providers) <> 'object'
        or _check_providers.providers @? 'strict $.* ? (@.type() != "array" || @.size() == 0)'
        or _check_providers.providers @? 'strict $.*[*] ? (@.type() != "string")'
    then
        raise exception using
            errcode = 'JV400',
            message = 'providers: must be an object that has an array of names for each model profile';
    end if;
end;
$$;

comment on function aiserv._check_providers is 'Raise JV400 when the providers that a claim names make no sense.';
