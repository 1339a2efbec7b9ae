create or replace function aiserv._is_field(name text)
returns boolean
language sql
immutable
as $$
    select _is_field.name in (
        'owner_service', 'owner_ref', 'task_type', 'model_profile', 'input', 'priority', 'run_at', 'delay', 'max_attempts',
        'timeout_seconds', 'metadata', 'idempotency_key', 'traceparent'
    );
$$;

comment on function aiserv._is_field is
'Whether a job that is to be created may have this field. Without a search path of its own, so that the planner can inline it.';
