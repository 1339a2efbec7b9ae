create or replace function aiserv.stats(
    owner_service text        default null,
    task_type     text        default null,
    model_profile text        default null,
    since         timestamptz default null
)
returns json
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
declare
    groups aiserv._group[];
    moment timestamptz := clock_timestamp();
    answer json;
begin
    groups := array(
        select known.*::aiserv._group
        from aiserv._groups(stats.owner_service, stats.task_type, stats.model_profile, stats.since) as known
    );
    select json_build_object(
        'queue', json_build_object(
            'pending', coalesce(sum(part.pending), 0),
            'scheduled', coalesce(sum(part.scheduled), 0),
            'running', coalesce(sum(part.running), 0),
            'completed', coalesce(sum(part.completed), 0),
            'failed', coalesce(sum(part.failed), 0),
            'cancelled', coalesce(sum(part.cancelled), 0),
            'total', coalesce(sum(part.pending + part.running + part.completed + part.failed + part.cancelled), 0)
        ),
        'errors', aiserv._stats_errors(stats.owner_service, stats.task_type, stats.model_profile, stats.since),
        'groups', coalesce(
            json_agg(
                json_build_object(
                    'owner_service', part.owner_service,
                    'task_type', part.task_type,
                    'model_profile', part.model_profile,
                    'pending', part.pending,
                    'running', part.running,
                    'completed', part.completed,
                    'failed', part.failed,
                    'cancelled', part.cancelled,
                    'oldest_pending_seconds', aiserv._seconds_since(part.oldest_run_at, moment)
                )
                order by part.owner_service, part.task_type, part.model_profile
            ),
            '[]'
        ),
        'backlog', aiserv._stats_backlog(groups, moment),
        'unserved', coalesce((
            select json_agg(
                json_build_object('task_type', lonely.task_type, 'model_profile', lonely.model_profile, 'pending', lonely.pending)
                order by lonely.task_type, lonely.model_profile
            )
            from (
                select known.task_type, known.model_profile, sum(known.pending) as pending
                from unnest(groups) as known
                where known.pending > 0 and not aiserv._is_served(known.model_profile, known.task_type, known.owner_service)
                group by known.task_type, known.model_profile
            ) as lonely
        ), '[]'),
        'generated_at', aiserv.time_text(moment)
    ) into answer
    from unnest(groups) as part;
    return answer;
end;
$$;

comment on function aiserv.stats is
'Counts by state, errors by category, groups by owner, task type and model profile, the backlog of queues that are not paused, and
work that no live worker takes, as JSON. Exact, and quick at any size of the tables. since counts completed, failed, cancelled and
errors from then on, by the minute.';
