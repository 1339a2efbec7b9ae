create or replace function aiserv._fingerprint(item aiserv._new_job)
returns uuid
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    body json := json_build_object(
        'owner_ref', item.owner_ref,
        'task_type', item.task_type,
        'model_profile', item.model_profile,
        'input', item.input,
        'priority', item.priority,
        'run_at', extract(epoch from item.run_at),
        'delay', extract(epoch from item.delay),
        'max_attempts', item.max_attempts,
        'timeout_seconds', item.timeout_seconds,
        'metadata', item.metadata
    );
begin
    -- The hash of a jsonb follows JSON equality: key order and 1.0 for 1 make no difference.
    return encode(
        int8send(jsonb_hash_extended(body::jsonb, 0)) || int8send(jsonb_hash_extended(body::jsonb, 1)),
        'hex'
    )::uuid;
exception
    -- Numbers beyond what jsonb holds: then the text itself is compared.
    when numeric_value_out_of_range or program_limit_exceeded then
        return md5(body::text)::uuid;
end;
$$;

comment on function aiserv._fingerprint is
'What two bodies with the same idempotency key must share: the item as it was sent, without key and trace.';
