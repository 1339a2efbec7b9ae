create or replace function aiserv._check_settlement(
    item   json,
    number bigint,
    fenced boolean
)
returns void
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    if json_typeof(_check_settlement.item) <> 'object' or (_check_settlement.item ->> 'id')::uuid is null
        or (_check_settlement.item ->> 'attempt')::integer is null and _check_settlement.fenced then
        raise exception using
            errcode = 'JV400',
            message = case when _check_settlement.fenced then 'must be an object with id and attempt' else 'must be an object with id' end;
    end if;
    if (_check_settlement.item -> 'result') is not null then
        perform aiserv._check_completion(
            _check_settlement.item -> 'result', nullif((_check_settlement.item -> 'usage')::text, 'null')::json
        );
    else
        perform aiserv._check_failure(
            _check_settlement.item ->> 'category', _check_settlement.item ->> 'message',
            (_check_settlement.item ->> 'retry_after')::interval,
            nullif((_check_settlement.item -> 'usage')::text, 'null')::json
        );
    end if;
exception
    when data_exception or sqlstate 'JV400' then
        raise exception using
            errcode = 'JV400', message = format('settlements[%s]: %s', _check_settlement.number - 1, sqlerrm);
end;
$$;

comment on function aiserv._check_settlement is 'Raise JV400, naming the item, when one item of settle_jobs makes no sense.';
