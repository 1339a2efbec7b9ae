create or replace function aiserv._check_completion(
    result json,
    usage  json
)
returns void
language plpgsql
immutable
set search_path = pg_temp
as $$
declare
    complaint text := case
        when _check_completion.result is null then 'result: must be JSON; null is given as ''null'''
        when not aiserv._is_storable(_check_completion.result) then 'result: must not contain \u0000 or a lone surrogate'
        when json_typeof(_check_completion.usage) <> 'object' then 'usage: must be an object'
        when not aiserv._is_storable(_check_completion.usage) then 'usage: must not contain \u0000 or a lone surrogate'
    end;
begin
    if complaint is not null then
        raise exception using errcode = 'JV400', message = complaint;
    end if;
end;
$$;

comment on function aiserv._check_completion is 'Raise JV400 when a result or usage makes no sense.';
