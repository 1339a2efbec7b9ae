create or replace function aiserv._owners(
    model_profiles text[],
    task_types     text[],
    level          integer
)
returns table (model_profile text, task_type text, owner_service text)
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    -- One look into the index for each, and from its end: what was claimed lately lies at the beginning of an owner's lane, and
    -- while a long transaction keeps those rows from being cleared away, every look would walk over them.
    return query
    with recursive lane(model_profile, task_type, owner_service) as (
        select queue.model_profile, queue.task_type, last.owner_service
        from unnest(_owners.model_profiles, _owners.task_types) as queue(model_profile, task_type)
        cross join lateral (
            select ready.owner_service
            from aiserv.ready as ready
            where ready.model_profile = queue.model_profile
              and ready.task_type = queue.task_type
              and ready.priority = _owners.level
            order by ready.owner_service desc
            limit 1
        ) as last
        union all
        select lane.model_profile, lane.task_type, previous.owner_service
        from lane
        cross join lateral (
            select ready.owner_service
            from aiserv.ready as ready
            where ready.model_profile = lane.model_profile
              and ready.task_type = lane.task_type
              and ready.priority = _owners.level
              and ready.owner_service < lane.owner_service
            order by ready.owner_service desc
            limit 1
        ) as previous
    )
    select lane.model_profile, lane.task_type, lane.owner_service from lane;
end;
$$;

comment on function aiserv._owners is 'The owners with ready jobs of one priority level in these queues: each is a lane of its own.';
