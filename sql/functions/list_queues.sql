create or replace function aiserv.list_queues(
    model_profile text default null,
    task_type     text default null,
    owner_service text default null
)
returns setof aiserv.queue
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
begin
    return query
    select
        queue.model_profile, queue.task_type, queue.paused, queue.paused_until, queue.pause_reason, queue.max_running,
        queue.requests_per_minute, queue.tokens_per_minute,
        case when list_queues.owner_service is null then queue.running else coalesce(own.running, 0) end,
        case when list_queues.owner_service is null then queue.pending else coalesce(own.pending, 0) end,
        queue.updated_at
    from aiserv.queue as queue
    left join (
        select part.model_profile, kind.task_type, sum(part.running)::bigint as running, sum(part.pending)::bigint as pending
        from aiserv._groups(list_queues.owner_service, null, list_queues.model_profile, null) as part
        cross join lateral (values (part.task_type), (null)) as kind(task_type)
        where list_queues.owner_service is not null
        group by part.model_profile, kind.task_type
    ) as own on own.model_profile = queue.model_profile and own.task_type is not distinct from queue.task_type
    where (list_queues.model_profile is null or queue.model_profile = list_queues.model_profile)
      and (list_queues.task_type is null or queue.task_type = list_queues.task_type)
      -- An owner sees the queues that somebody has set, and those that it has work in.
      and (list_queues.owner_service is null or queue.updated_at is not null or own.running + own.pending > 0)
    order by queue.model_profile, queue.task_type nulls first;
end;
$$;

comment on function aiserv.list_queues is
'The queues with their pauses, limits and numbers; of one model profile, or of one task type of it. task_type null is the whole
profile.
With owner_service the numbers are of its jobs, and a queue without settings is listed only if it has any there.';
