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
        with recursive owner(model_profile, task_type, queue_key, owner_key, owner_service) as (
            select queue.model_profile, queue.task_type, last.*
            from unnest(_owners_lanes.model_profiles, _owners_lanes.task_types) as queue(model_profile, task_type)
            cross join lateral (
                select ready.queue_key, ready.owner_key, ready.owner_service
                from aiserv.ready as ready
                where ready.queue_key = aiserv._queue_key(queue.model_profile, queue.task_type)
                  and ready.priority = _owners_lanes.level
                order by ready.owner_key desc
                limit 1
            ) as last
            union all
            select owner.model_profile, owner.task_type, previous.*
            from owner
            cross join lateral (
                select ready.queue_key, ready.owner_key, ready.owner_service
                from aiserv.ready as ready
                where ready.queue_key = owner.queue_key
                  and ready.priority = _owners_lanes.level
                  and ready.owner_key < owner.owner_key
                order by ready.owner_key desc
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
