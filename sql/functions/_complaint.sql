create or replace function aiserv._complaint(item aiserv._new_job)
returns text
language plpgsql
immutable
set search_path = pg_temp
as $$
begin
    -- What _sent_jobs asks at once. A null comparison is a complaint, too, where a null makes no sense.
    return case
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
        when not aiserv._is_storable(item.metadata) then 'metadata: must not contain \u0000 or a lone surrogate'
    end;
end;
$$;

comment on function aiserv._complaint is 'What makes no sense about a job to be created, naming the field; null if it does.';
