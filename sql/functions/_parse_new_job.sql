create or replace function aiserv._parse_new_job(
    item   json,
    number bigint
)
returns aiserv._new_job
language plpgsql
stable
set search_path = ''
as $$
declare
    parsed  aiserv._new_job;
    unknown text;
begin
    if json_typeof(_parse_new_job.item) <> 'object' then
        raise exception using
            errcode = 'JV400', message = format('jobs[%s]: must be an object', _parse_new_job.number - 1);
    end if;
    select field.key into unknown
    from json_object_keys(_parse_new_job.item) as field(key)
    where field.key not in (
        'owner_service', 'owner_ref', 'task_type', 'model_profile', 'input', 'priority', 'run_at', 'delay', 'max_attempts',
        'timeout_seconds', 'metadata', 'idempotency_key', 'traceparent'
    )
    limit 1;
    if found then
        raise exception using
            errcode = 'JV400', message = format('jobs[%s].%s: unknown field', _parse_new_job.number - 1, unknown);
    end if;

    parsed := json_populate_record(null::aiserv._new_job, _parse_new_job.item);
    -- populate_record writes a string anew, with other escapes: the slice keeps the caller's text.
    parsed.input := coalesce(_parse_new_job.item -> 'input', '{}');
    parsed.owner_ref := coalesce(parsed.owner_ref, '');
    parsed.priority := coalesce(parsed.priority, 0);
    parsed.max_attempts := coalesce(parsed.max_attempts, 3);
    parsed.metadata := coalesce(parsed.metadata, '{}');
    return parsed;
exception
    when data_exception then
        raise exception using
            errcode = 'JV400', message = format('jobs[%s]: %s', _parse_new_job.number - 1, sqlerrm);
end;
$$;

comment on function aiserv._parse_new_job is
'One item of create_jobs as a record, its defaults filled in. Raises JV400 for an unknown field or a wrong type.';
