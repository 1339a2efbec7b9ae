create or replace function aiserv._unsound(items aiserv._new_job[])
returns table (place bigint, complaint text)
language plpgsql
set search_path = ''
as $$
begin
    return query
    select
        item.ordinality,
        case
            when (char_length(item.owner_service) between 1 and 200) is not true then 'owner_service: must have 1 to 200 characters'
            when (char_length(item.task_type) between 1 and 200) is not true then 'task_type: must have 1 to 200 characters'
            when (char_length(item.model_profile) between 1 and 200) is not true then 'model_profile: must have 1 to 200 characters'
            when (char_length(item.owner_ref) <= 500) is not true then 'owner_ref: must have at most 500 characters'
            when (item.priority between -100 and 100) is not true then 'priority: must be from -100 to 100'
            when (item.max_attempts between 1 and 100) is not true then 'max_attempts: must be from 1 to 100'
            when not (item.timeout_seconds > 0 and item.timeout_seconds <= 86400) then 'timeout_seconds: must be over 0 and at most 86400'
            when not (char_length(item.idempotency_key) between 1 and 200) then 'idempotency_key: must have 1 to 200 characters'
            when item.delay is not null and item.run_at is not null then 'delay: give run_at or delay, not both'
            when not (item.delay between interval '0' and interval '366 days') then 'delay: must be from 0 to 366 days'
            when not isfinite(item.run_at) then 'run_at: must be a finite time'
            when item.traceparent is not null
                and item.traceparent !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' then 'traceparent: must be a W3C trace context'
            when item.input is null then 'input: must be JSON'
            when (json_typeof(item.metadata) = 'object') is not true then 'metadata: must be an object'
            when octet_length(item.metadata::text) > 16384 then 'metadata: must have at most 16 KiB'
            when not aiserv._is_storable(item.input) then 'input: must not contain \u0000 or a lone surrogate'
            else 'metadata: must not contain \u0000 or a lone surrogate'
        end
    from unnest(_unsound.items) with ordinality as item
    -- One pass that finds nothing in the usual case; a null comparison is a complaint, too.
    where (
        char_length(item.owner_service) between 1 and 200
        and char_length(item.task_type) between 1 and 200
        and char_length(item.model_profile) between 1 and 200
        and char_length(item.owner_ref) <= 500
        and item.priority between -100 and 100
        and item.max_attempts between 1 and 100
        and (item.timeout_seconds is null or item.timeout_seconds > 0 and item.timeout_seconds <= 86400)
        and (item.idempotency_key is null or char_length(item.idempotency_key) between 1 and 200)
        and (item.delay is null or item.run_at is null and item.delay between interval '0' and interval '366 days')
        and (item.run_at is null or isfinite(item.run_at))
        and (item.traceparent is null or item.traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')
        and item.input is not null
        and json_typeof(item.metadata) = 'object'
        and octet_length(item.metadata::text) <= 16384
        -- What escapes nothing costs no call.
        and (strpos(item.input::text, '\u') = 0 or aiserv._is_storable(item.input))
        and (strpos(item.metadata::text, '\u') = 0 or aiserv._is_storable(item.metadata))
    ) is not true;
end;
$$;

comment on function aiserv._unsound is 'The jobs to be created that make no sense: their places, and what is wrong, naming the field.';
