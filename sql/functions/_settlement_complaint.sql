create or replace function aiserv._settlement_complaint(
    item   json,
    fenced boolean
)
returns text
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    if not aiserv._is_storable(_settlement_complaint.item) then
        return 'must not contain \u0000 or a lone surrogate';
    elsif json_typeof(_settlement_complaint.item) <> 'object' or (_settlement_complaint.item ->> 'id')::uuid is null
        or (_settlement_complaint.item ->> 'attempt')::integer is null and _settlement_complaint.fenced then
        return case when _settlement_complaint.fenced then 'must be an object with id and attempt' else 'must be an object with id' end;
    end if;
    -- What cannot be read is found here, and not where it is used.
    perform _settlement_complaint.item ->> 'worker_id', (_settlement_complaint.item ->> 'retryable')::boolean;
    if (_settlement_complaint.item -> 'result') is not null then
        perform aiserv._check_completion(
            _settlement_complaint.item -> 'result', nullif((_settlement_complaint.item -> 'usage')::text, 'null')::json
        );
    else
        perform aiserv._check_failure(
            _settlement_complaint.item ->> 'category', _settlement_complaint.item ->> 'message',
            (_settlement_complaint.item ->> 'retry_after')::interval,
            nullif((_settlement_complaint.item -> 'usage')::text, 'null')::json
        );
    end if;
    return null;
exception
    when data_exception or sqlstate 'JV400' then
        return sqlerrm;
end;
$$;

comment on function aiserv._settlement_complaint is 'What makes no sense in one item of settle_jobs; null if it does.';
