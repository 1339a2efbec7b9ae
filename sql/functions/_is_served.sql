create or replace function aiserv._is_served(
    model_profile text,
    task_type     text,
    owner_service text
)
returns boolean
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return exists (
        select
        from aiserv.worker as worker
        where worker.last_seen_at > clock_timestamp() - interval '75 seconds'
          and (worker.model_profiles = '{}' or _is_served.model_profile = any(worker.model_profiles))
          and (worker.task_types = '{}' or _is_served.task_type = any(worker.task_types))
          and (worker.queues -> _is_served.model_profile ? _is_served.task_type) is not false
          and (worker.owner_service is null or worker.owner_service = _is_served.owner_service)
    );
end;
$$;

comment on function aiserv._is_served is
'Whether a live worker takes this queue for this owner.';
