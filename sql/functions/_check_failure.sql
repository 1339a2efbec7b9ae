create or replace function aiserv._check_failure(
    category    text,
    message     text,
    retry_after interval,
    usage       json
)
returns void
language plpgsql
immutable
set search_path = pg_temp
as $$
declare
    complaint text := case
        when (_check_failure.category ~ '^[a-z][a-z0-9_]{0,63}$') is not true
            then 'category: must be a lower-case word of at most 64 letters, digits and underscores'
        when _check_failure.message is null then 'message: must be given'
        when not (_check_failure.retry_after between interval '0' and interval '366 days')
            then 'retry_after: must be from 0 to 366 days'
        when json_typeof(_check_failure.usage) <> 'object' then 'usage: must be an object'
        when not aiserv._is_storable(_check_failure.usage) then 'usage: must not contain \u0000 or a lone surrogate'
    end;
begin
    if complaint is not null then
        raise exception using errcode = 'JV400', message = complaint;
    end if;
end;
$$;

comment on function aiserv._check_failure is 'Raise JV400 when the words of a failure make no sense.';
