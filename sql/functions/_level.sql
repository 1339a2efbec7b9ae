create or replace function aiserv._level(
    model_profiles text[],
    task_types     text[],
    level          integer,
    owner_service  text,
    cursor         jsonb
)
returns aiserv._lane[]
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    lanes aiserv._lane[];
begin
    if _level.owner_service is not null then
        -- Of one owner: no look at the others.
        lanes := array(
            select (queue.model_profile, queue.task_type, _level.owner_service, '-infinity', aiserv._lowest_id('epoch'))::aiserv._lane
            from unnest(_level.model_profiles, _level.task_types) as queue(model_profile, task_type)
        );
    else
        -- One look into the index for each, and from its end: what was claimed lately lies at the beginning of an owner's lane,
        -- and while a long transaction keeps those rows from being cleared away, every look would walk over them.
        lanes := array(
            with recursive owner(model_profile, task_type, owner_service) as (
                select queue.model_profile, queue.task_type, last.owner_service
                from unnest(_level.model_profiles, _level.task_types) as queue(model_profile, task_type)
                cross join lateral (
                    select ready.owner_service
                    from aiserv.ready as ready
                    where ready.model_profile = queue.model_profile
                      and ready.task_type = queue.task_type
                      and ready.priority = _level.level
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
                      and ready.priority = _level.level
                      and ready.owner_service < owner.owner_service
                    order by ready.owner_service desc
                    limit 1
                ) as previous
            )
            select (owner.model_profile, owner.task_type, owner.owner_service, '-infinity', aiserv._lowest_id('epoch'))::aiserv._lane
            from owner
        );
    end if;

    if _level.cursor is not null then
        lanes := array(
            select (
                lane.model_profile, lane.task_type, lane.owner_service,
                coalesce((spot.place ->> 0)::timestamptz, lane.run_at), coalesce((spot.place ->> 1)::uuid, lane.job_id)
            )::aiserv._lane
            from unnest(lanes) as lane
            cross join lateral (
                select _level.cursor -> 'lanes' -> jsonb_build_array(
                    lane.model_profile, lane.task_type, _level.level, lane.owner_service
                )::text as place
            ) as spot
        );
    end if;
    return lanes;
end;
$$;

comment on function aiserv._level is
'The lanes of one priority level in these queues: one for each owner with ready jobs, or the one of the owner that is asked for. They
begin at the head, or where the cursor is.';
