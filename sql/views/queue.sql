create or replace view aiserv.queue as
select
    queue.model_profile,
    nullif(queue.task_type, '') as task_type,
    trouble.model_profile is not null or coalesce(setting.paused or setting.paused_until > clock_timestamp(), false) as paused,
    case when setting.paused then setting.paused_until else greatest(setting.paused_until, trouble.paused_until) end as paused_until,
    case
        when trouble.model_profile is null or setting.paused or setting.paused_until > clock_timestamp() then setting.pause_reason
        else trouble.reason
    end as pause_reason,
    setting.max_running,
    setting.requests_per_minute,
    setting.tokens_per_minute,
    queue.running,
    queue.unfinished - queue.running as pending,
    setting.updated_at
from (
    select part.model_profile, part.task_type, sum(part.unfinished)::bigint as unfinished, sum(part.running)::bigint as running
    from (
        select counter.model_profile, kind.task_type, counter.total - counter.completed - counter.failed - counter.cancelled as unfinished, 0 as running
        from aiserv._counters as counter
        cross join lateral (values (counter.task_type), ('')) as kind(task_type)
        union all
        select lease.model_profile, kind.task_type, 0, 1
        from aiserv.lease as lease
        cross join lateral (values (lease.task_type), ('')) as kind(task_type)
        union all
        select setting.model_profile, setting.task_type, 0, 0
        from aiserv.queue_setting as setting
    ) as part
    group by part.model_profile, part.task_type
) as queue
left join aiserv.queue_setting as setting using (model_profile, task_type)
left join aiserv._trouble as trouble using (model_profile)
where queue.unfinished > 0 or setting.model_profile is not null;

comment on view aiserv.queue is
'The queues: each model profile as a whole (task_type null) and each task type of it that has unfinished jobs or settings.';
comment on column aiserv.queue.model_profile is 'The model profile.';
comment on column aiserv.queue.task_type is 'The task type; null is all of the profile.';
comment on column aiserv.queue.paused is 'Whether claims get nothing from it now, or single probes: somebody paused it, or its providers are in trouble.';
comment on column aiserv.queue.paused_until is 'When a pause ends by itself, or the next probe of its provider may go.';
comment on column aiserv.queue.pause_reason is 'Why it is paused, as somebody said, or its provider.';
comment on column aiserv.queue.max_running is 'How many of its jobs may run at once; null is any number.';
comment on column aiserv.queue.requests_per_minute is 'How many of its jobs may be claimed a minute; null is any number.';
comment on column aiserv.queue.tokens_per_minute is 'How many tokens its jobs may use a minute; null is any number.';
comment on column aiserv.queue.running is 'How many of its jobs run.';
comment on column aiserv.queue.pending is 'How many of its jobs wait, due or not.';
comment on column aiserv.queue.updated_at is 'When its settings were last changed.';
