create or replace function aiserv._stats_errors(
    owner_service text,
    task_type     text,
    model_profile text,
    since         timestamptz
)
returns json
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    answer json;
begin
    select coalesce(json_object_agg(error.category, error.jobs order by error.category), '{}') into answer
    from (
        select counter.error_category as category, sum(counter.failed) as jobs
        from (
            select * from aiserv._counters as counter where _stats_errors.since is null
            union all
            select * from aiserv._finished_since(_stats_errors.since)
        ) as counter
        where (_stats_errors.owner_service is null or counter.owner_service = _stats_errors.owner_service)
          and (_stats_errors.task_type is null or counter.task_type = _stats_errors.task_type)
          and (_stats_errors.model_profile is null or counter.model_profile = _stats_errors.model_profile)
        group by counter.error_category
        having sum(counter.failed) > 0
    ) as error;
    return answer;
end;
$$;

comment on function aiserv._stats_errors is 'Failed jobs by category, as stats shows them.';
