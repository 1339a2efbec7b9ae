create or replace function aiserv._groups(
    owner_service text,
    task_type     text,
    model_profile text,
    since         timestamptz
)
returns setof aiserv._group
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return query
    select
        part.owner_service,
        part.task_type,
        part.model_profile,
        sum(part.unfinished)::bigint - sum(part.running)::bigint,
        sum(part.scheduled)::bigint,
        sum(part.running)::bigint,
        sum(part.completed)::bigint,
        sum(part.failed)::bigint,
        sum(part.cancelled)::bigint,
        min(part.oldest_run_at)
    from (
        -- What was ever created and is not finished is pending or running.
        select
            counter.owner_service, counter.task_type, counter.model_profile,
            counter.total - counter.completed - counter.failed - counter.cancelled as unfinished,
            counter.scheduled, 0 as running,
            case when _groups.since is null then counter.completed else 0 end as completed,
            case when _groups.since is null then counter.failed else 0 end as failed,
            case when _groups.since is null then counter.cancelled else 0 end as cancelled,
            null::timestamptz as oldest_run_at
        from aiserv._counters as counter
        union all
        select recent.owner_service, recent.task_type, recent.model_profile, 0, 0, 0, recent.completed, recent.failed, recent.cancelled, null
        from aiserv._finished_since(_groups.since) as recent
        union all
        select lease.owner_service, lease.task_type, lease.model_profile, 0, 0, 1, 0, 0, 0, null
        from aiserv.lease as lease
        union all
        -- Due by now, but not moved to aiserv.ready yet: no longer scheduled.
        select scheduled.owner_service, scheduled.task_type, scheduled.model_profile, 0, -1, 0, 0, 0, 0, scheduled.run_at
        from aiserv._queues(null, null) as asked
        cross join lateral unnest(asked.profiles, asked.kinds) as queue(model_profile, task_type)
        join aiserv.scheduled as scheduled
            on scheduled.model_profile = queue.model_profile and scheduled.task_type = queue.task_type
            and scheduled.run_at <= clock_timestamp()
        union all
        select lane.owner_service, lane.task_type, lane.model_profile, 0, 0, 0, 0, 0, 0, lane.run_at
        from aiserv._lanes() as lane
    ) as part
    where (_groups.owner_service is null or part.owner_service = _groups.owner_service)
      and (_groups.task_type is null or part.task_type = _groups.task_type)
      and (_groups.model_profile is null or part.model_profile = _groups.model_profile)
    group by part.owner_service, part.task_type, part.model_profile
    having sum(part.unfinished) <> 0 or sum(part.completed) <> 0 or sum(part.failed) <> 0 or sum(part.cancelled) <> 0;
end;
$$;

comment on function aiserv._groups is
'The numbers of each owner, task type and model profile now; with since, finished jobs count from then on, by the minute.';
