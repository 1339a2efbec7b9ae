create or replace function aiserv._open_queues(
    model_profiles text[],
    task_types     text[],
    services       aiserv._service[]
)
returns table (model_profile text, task_type text, capacity bigint)
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    -- Counted, never kept: a count cannot leak. Of the settings of a queue and of its profile the tighter holds.
    return query
    select queue.model_profile, queue.task_type, least(room.capacity, probe.capacity)
    from unnest(_open_queues.model_profiles, _open_queues.task_types) as queue(model_profile, task_type)
    cross join lateral (
        select
            coalesce(bool_or(setting.paused or setting.paused_until > clock_timestamp()), false) as paused,
            min(least(
                setting.max_running - (
                    select count(*)
                    from aiserv.lease as lease
                    where setting.max_running is not null
                      and lease.model_profile = setting.model_profile
                      and setting.task_type in ('', lease.task_type)
                ),
                floor(setting.request_balance)::bigint,
                -- Tokens are taken one job at a time: only after a job is its estimate known.
                case when setting.tokens_per_minute is not null then (setting.token_balance > 0)::integer end
            )) as capacity
        from aiserv.queue_setting as setting
        where setting.model_profile = queue.model_profile and setting.task_type in ('', queue.task_type)
    ) as room
    -- A queue all of whose providers are in trouble gives a probe, or nothing; one that nobody knows of is well.
    cross join lateral (
        select
            case
                when bool_and(service.in_trouble and not service.may_probe) then 0
                when bool_and(service.in_trouble) then 1
            end as capacity
        from unnest(_open_queues.services) as service
        where service.model_profile = queue.model_profile
    ) as probe
    where not room.paused and (least(room.capacity, probe.capacity) > 0) is not false;
end;
$$;

comment on function aiserv._open_queues is
'Those of the queues that are not paused, and how many jobs each may still give: null is any number. The caller has locked their
settings, and says how their providers are; null is well.';
