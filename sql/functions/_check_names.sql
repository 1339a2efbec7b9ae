create or replace function aiserv._check_names(
    parameter text,
    value     jsonb
)
returns void
language plpgsql
immutable
set search_path = pg_temp
as $$
begin
    if jsonb_typeof(_check_names.value) <> 'object'
        or _check_names.value @? 'strict $.* ? (@.type() != "array" || @.size() == 0)'
        or _check_names.value @? 'strict $.*[*] ? (@.type() != "string")'
    then
        raise exception using
            errcode = 'JV400',
            message = format('%s: must be an object that has an array of names for each model profile', _check_names.parameter);
    end if;
end;
$$;

comment on function aiserv._check_names is 'Raise JV400 when what a claim names of model profiles makes no sense.';
