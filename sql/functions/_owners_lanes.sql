create or replace function aiserv._owners_lanes(
    model_profiles text[],
    task_types     text[],
    level          integer
)
returns aiserv._lane[]
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    -- One look for each owner.
    return array(
        with recursive owner(model_profile, task_type, owner_service) as (
            select queue.model_profile, queue.task_type, last.owner_service
            from unnest(_owners_lanes.model_profiles, _owners_lanes.task_types) as queue(model_profile, task_type)
            cross join lateral (
                select ready.owner_service
                from aiserv.ready as ready
                where ready.model_profile = queue.model_profile
                  and ready.task_type = queue.task_type
                  and ready.priority = _owners_lanes.level
                order by ready.owner_service desc
                limit 1
            ) as last
            union all
            select owner.model_profile, owner.task_type, previous.owner_service
            from owner
            cross join lateral (
                select ready.owner_service
                from aiserv.ready as ready
                where ready.model_profile = owner.model_profile
                  and ready.task_type = owner.task_type
                  and ready.priority = _owners_lanes.level
                  and ready.owner_service < owner.owner_service
                order by ready.owner_service desc
                limit 1
            ) as previous
        )
        select (owner.model_profile, owner.task_type, owner.owner_service, '-infinity', aiserv._lowest_id('epoch'))::aiserv._lane
        from owner
    );
end;
$$;

comment on function aiserv._owners_lanes is
'The lanes of all owners with ready jobs of this priority in these queues, from their heads.';
