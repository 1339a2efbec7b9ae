create or replace function aiserv._sent_jobs(
    jobs     json,
    defaults json,
    plain    boolean default false
)
returns table (place bigint, item aiserv._new_job, is_sound boolean)
language sql
stable
as $$
    select
        sent.place,
        row(
            sent.owner_service, coalesce(sent.owner_ref, ''), sent.task_type, sent.model_profile, sent.payload,
            coalesce(sent.priority, 0), sent.run_at, sent.delay, coalesce(sent.max_attempts, 3), sent.timeout_seconds,
            coalesce(sent.metadata, '{}'), sent.idempotency_key, sent.traceparent
        )::aiserv._new_job,
        (
            -- All names at once, as PostgreSQL prepares each call of a function anew for each statement.
            '' <> all(array[sent.owner_service, sent.task_type, sent.model_profile])
            and sent.idempotency_key is distinct from ''
            and greatest(
                char_length(sent.owner_service), char_length(sent.task_type), char_length(sent.model_profile),
                char_length(sent.idempotency_key)
            ) <= 200
            and (sent.owner_ref is null or char_length(sent.owner_ref) <= 500)
            and (sent.priority is null or sent.priority between -100 and 100)
            and (sent.max_attempts is null or sent.max_attempts between 1 and 100)
            and (sent.timeout_seconds is null or sent.timeout_seconds > 0 and sent.timeout_seconds <= 86400)
            and (sent.delay is null or sent.run_at is null and sent.delay between interval '0' and interval '366 days')
            and (sent.run_at is null or isfinite(sent.run_at))
            and (sent.traceparent is null or sent.traceparent ~ '^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$')
            and (
                sent.metadata is null
                or json_typeof(sent.metadata) = 'object'
                and octet_length(sent.metadata::text) <= 16384
                and (strpos(sent.metadata::text, '\u') = 0 or aiserv._is_storable(sent.metadata))
            )
            -- What escapes nothing costs no call.
            and (strpos(sent.payload::text, '\u') = 0 or aiserv._is_storable(sent.payload))
            and (
                sent.value is null
                or not exists (
                    select from (select json_object_keys(sent.value)) as field(name) where not aiserv._is_field(field.name)
                )
            )
        ) is true
    from (
        select
            part.*,
            case
                -- populate_recordset writes a string anew, with other escapes: the slice keeps the caller's text.
                when part.input is null then coalesce(part.value -> 'input', shared.input, '{}')
                when starts_with(part.input::text, '"') then coalesce(part.value -> 'input', shared.input)
                when shared.input is not null and starts_with(shared.input::text, '{') and starts_with(part.input::text, '{')
                    and (part.value -> 'input') is not null
                    then aiserv.merge_objects(shared.input, part.input)
                else part.input
            end as payload
        from (
            select
                json_populate_record(null::aiserv._new_job, coalesce(_sent_jobs.defaults, '{}')) as item,
                _sent_jobs.defaults -> 'input' as input
            offset 0
        ) as shared
        -- Over what they share, null counting as given.
        cross join lateral rows from (
            -- Once more as they stand, for what the records do not tell: a third of what all the JSON costs.
            json_array_elements(case when _sent_jobs.plain then '[]' else _sent_jobs.jobs end),
            json_populate_recordset(shared.item, _sent_jobs.jobs)
        ) with ordinality as part(
            value, owner_service, owner_ref, task_type, model_profile, input, priority, run_at, delay, max_attempts,
            timeout_seconds, metadata, idempotency_key, traceparent, place
        )
        -- Each payload is cut out once, however often it is looked at.
        offset 0
    ) as sent;
$$;

comment on function aiserv._sent_jobs is
'The items of a JSON array over what they share, as records, and whether each makes sense: if not, _complaint says why. They are
plain where it is known that all names of their fields are, that no input is null or text, and that they share none. Raises a data
exception for a wrong type. Without a search path of its own, so that the planner can inline it.';
