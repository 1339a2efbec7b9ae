create or replace function aiserv._new_jobs(
    jobs     json,
    defaults json default null
)
returns aiserv._new_job[]
language plpgsql
stable
set search_path = ''
as $$
declare
    base   json := coalesce(_new_jobs.defaults, '{}');
    shared aiserv._new_job;
    items  aiserv._new_job[];
begin
    if json_typeof(base) <> 'object' then
        raise exception using errcode = 'JV400', message = 'defaults: must be an object';
    end if;
    begin
        shared := json_populate_record(null::aiserv._new_job, base);
        shared.input := null;
        if not exists (
            select
            from (
                select json_object_keys(part.value) as key
                from (select json_array_elements(_new_jobs.jobs) union all select base) as part(value)
            ) as field
            where field.key not in (
                'owner_service', 'owner_ref', 'task_type', 'model_profile', 'input', 'priority', 'run_at', 'delay', 'max_attempts',
                'timeout_seconds', 'metadata', 'idempotency_key', 'traceparent'
            )
        ) then
            select array_agg(
                (
                    sent.owner_service, coalesce(sent.owner_ref, ''), sent.task_type, sent.model_profile,
                    case
                        -- populate_record writes a string anew, with other escapes: the slice keeps the caller's text.
                        when sent.input is null or starts_with(sent.input::text, '"')
                            then coalesce(item.value -> 'input', base -> 'input', '{}')
                        when starts_with(sent.input::text, '{') and starts_with((base -> 'input')::text, '{')
                            then aiserv.merge_jobs(base, item.value) -> 'input'
                        else sent.input
                    end,
                    coalesce(sent.priority, 0), sent.run_at, sent.delay, coalesce(sent.max_attempts, 3), sent.timeout_seconds,
                    coalesce(sent.metadata, '{}'), sent.idempotency_key, sent.traceparent
                )::aiserv._new_job
                order by item.ordinality
            ) into items
            from json_array_elements(_new_jobs.jobs) with ordinality as item
            -- Over what they share, null counting as given.
            cross join lateral json_populate_record(shared, item.value) as sent;
            return items;
        end if;
    exception
        when data_exception then
            null;
    end;

    -- Something is wrong: one by one, to say with which.
    return array(
        select aiserv._parse_new_job(
            case
                when _new_jobs.defaults is not null and json_typeof(item.value) = 'object' then aiserv.merge_jobs(base, item.value)
                else item.value
            end,
            item.ordinality
        )
        from json_array_elements(_new_jobs.jobs) with ordinality as item
        order by item.ordinality
    );
end;
$$;

comment on function aiserv._new_jobs is
'The items of create_jobs over what they share, as records. Raises JV400, naming the item, for an unknown field or a wrong type.';
