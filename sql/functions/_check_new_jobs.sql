create or replace function aiserv._check_new_jobs(items aiserv._new_job[])
returns void
language plpgsql
set search_path = ''
as $$
declare
    bad record;
begin
    -- One pass that finds nothing in the usual case; a null comparison is a complaint, too.
    select item.*, item.ordinality into bad
    from unnest(_check_new_jobs.items) with ordinality as item
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
    ) is not true
    limit 1;

    if not found then
        return;
    end if;

    raise exception using
        errcode = 'JV400',
        message = case when cardinality(_check_new_jobs.items) > 1 then format('jobs[%s].', bad.ordinality - 1) else '' end
            || case
                when (char_length(bad.owner_service) between 1 and 200) is not true then 'owner_service: must have 1 to 200 characters'
                when (char_length(bad.task_type) between 1 and 200) is not true then 'task_type: must have 1 to 200 characters'
                when (char_length(bad.model_profile) between 1 and 200) is not true then 'model_profile: must have 1 to 200 characters'
                when (char_length(bad.owner_ref) <= 500) is not true then 'owner_ref: must have at most 500 characters'
                when (bad.priority between -100 and 100) is not true then 'priority: must be from -100 to 100'
                when (bad.max_attempts between 1 and 100) is not true then 'max_attempts: must be from 1 to 100'
                when not (bad.timeout_seconds > 0 and bad.timeout_seconds <= 86400) then 'timeout_seconds: must be over 0 and at most 86400'
                when not (char_length(bad.idempotency_key) between 1 and 200) then 'idempotency_key: must have 1 to 200 characters'
                when bad.delay is not null and bad.run_at is not null then 'delay: give run_at or delay, not both'
                when not (bad.delay between interval '0' and interval '366 days') then 'delay: must be from 0 to 366 days'
                when not isfinite(bad.run_at) then 'run_at: must be a finite time'
                when bad.traceparent is not null
                    and bad.traceparent !~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' then 'traceparent: must be a W3C trace context'
                when bad.input is null then 'input: must be JSON'
                when (json_typeof(bad.metadata) = 'object') is not true then 'metadata: must be an object'
                when octet_length(bad.metadata::text) > 16384 then 'metadata: must have at most 16 KiB'
                when not aiserv._is_storable(bad.input) then 'input: must not contain \u0000 or a lone surrogate'
                else 'metadata: must not contain \u0000 or a lone surrogate'
            end;
end;
$$;

comment on function aiserv._check_new_jobs is 'Raise JV400, naming the item and the field, when a job to be created makes no sense.';
