create or replace function aiserv.inspect_work()
returns setof aiserv.finding
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
begin
    return query
    select
        seen.topic,
        case when seen.wrong then seen.severity else 'ok' end,
        seen.detail,
        case when seen.wrong then seen.advice end
    from (
        select
            'leases', count(*) > 0, 'problem', case when count(*) = 0 then 'none is over' else format('%s over for more than 10 seconds and not recovered', count(*)) end,
            'Start a server or a worker: each of them recovers the jobs of the dead.'
        from aiserv.lease as lease
        where lease.lease_expires_at < clock_timestamp() - interval '10 seconds'
        union all
        select
            'unserved', count(*) > 0, 'problem',
            coalesce(string_agg(
                format('%s due of model profile %s, task type %s', lonely.due, lonely.model_profile, lonely.task_type), '; '
                order by lonely.model_profile, lonely.task_type
            ), 'all work that is due has a live worker'),
            'Start a worker that takes them, or cancel them: no live one does.'
        from (
            select part.model_profile, part.task_type, sum(part.pending - part.scheduled) as due
            from aiserv._groups(null, null, null, null) as part
            where part.pending > part.scheduled
              and not aiserv._is_served(part.model_profile, part.task_type, part.owner_service)
            group by part.model_profile, part.task_type
        ) as lonely
        union all
        select
            'paused', count(*) > 0, 'warning',
            coalesce(string_agg(
                concat_ws(', ', setting.model_profile, nullif(setting.task_type, ''), setting.pause_reason), '; '
                order by setting.model_profile, setting.task_type
            ), 'no queue'),
            'resume_queue, if the reason is gone.'
        from aiserv.queue_setting as setting
        where setting.paused or setting.paused_until > clock_timestamp()
        union all
        select
            'troubled_providers', count(*) > 0, 'warning',
            coalesce(string_agg(
                format('%s: %s since %s', provider.name, provider.category, date_trunc('second', provider.since)), '; ' order by provider.name
            ), 'none'),
            'Mend what aiserv.providers says; their queues give single probes until one succeeds.'
        from aiserv.provider as provider
    ) as seen(topic, wrong, severity, detail, advice);
end;
$$;

comment on function aiserv.inspect_work is
'Whether the work goes on: topics leases, unserved, paused, troubled_providers.';
