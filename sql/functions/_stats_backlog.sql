create or replace function aiserv._stats_backlog(
    groups aiserv._group[],
    moment timestamptz
)
returns json
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    answer json;
begin
    select json_build_object(
        'pending', coalesce(sum(part.pending - part.scheduled), 0),
        'oldest_pending_seconds', aiserv._seconds_since(min(part.oldest_run_at), _stats_backlog.moment),
        'drain_seconds', sum(part.pending - part.scheduled) / nullif(sum(recent.finished), 0) * 600
    ) into answer
    from unnest(_stats_backlog.groups) as part
    left join (
        select done.owner_service, done.task_type, done.model_profile, sum(done.completed + done.failed) as finished
        from aiserv._finished_since(_stats_backlog.moment - interval '10 minutes') as done
        group by done.owner_service, done.task_type, done.model_profile
    ) as recent using (owner_service, task_type, model_profile)
    where not exists (
        select
        from aiserv.queue_setting as setting
        where setting.model_profile = part.model_profile
          and setting.task_type in ('', part.task_type)
          and (setting.paused or setting.paused_until > _stats_backlog.moment)
    )
      and not exists (select from aiserv._trouble as trouble where trouble.model_profile = part.model_profile);
    return answer;
end;
$$;

comment on function aiserv._stats_backlog is
'The due jobs of queues that are not paused: how many, how old, and how long at the pace of the last ten minutes.';
