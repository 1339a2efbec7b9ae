create or replace function aiserv._level(
    model_profiles text[],
    task_types     text[],
    below          integer,
    owner_service  text,
    cursor         jsonb,
    out level      integer,
    out lanes      aiserv._lane[],
    out is_lowest  boolean
)
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    lowest integer;
begin
    -- Of each queue the last two lanes. From the end, for there is the highest level; and what was claimed lately lies at the
    -- beginning of an owner's lane: while a long transaction keeps those rows from being cleared away, every look would walk
    -- over them.
    select
        max(last.priority), min(case when previous.priority is null then last.priority else -101 end),
        array_agg((queue.model_profile, queue.task_type, last.owner_service, '-infinity', aiserv._lowest_id('epoch'))::aiserv._lane)
    into _level.level, lowest, _level.lanes
    from unnest(_level.model_profiles, _level.task_types) as queue(model_profile, task_type)
    cross join lateral (
        select ready.queue_key, ready.priority, ready.owner_key, ready.owner_service
        from aiserv.ready as ready
        where ready.queue_key = aiserv._queue_key(queue.model_profile, queue.task_type) and ready.priority < _level.below
        order by ready.priority desc, ready.owner_key desc
        limit 1
    ) as last
    left join lateral (
        select ready.priority
        from aiserv.ready as ready
        where ready.queue_key = last.queue_key and (ready.priority, ready.owner_key) < (last.priority, last.owner_key)
        order by ready.priority desc, ready.owner_key desc
        limit 1
    ) as previous on true;

    -- As nearly always: one owner, or none in most queues, and one level. Otherwise who knows what lies below.
    _level.is_lowest := lowest = _level.level;
    if _level.owner_service is not null then
        -- Of one owner: no look at the others.
        _level.lanes := array(
            select (queue.model_profile, queue.task_type, _level.owner_service, '-infinity', aiserv._lowest_id('epoch'))::aiserv._lane
            from unnest(_level.model_profiles, _level.task_types) as queue(model_profile, task_type)
        );
    elsif not _level.is_lowest then
        _level.lanes := aiserv._owners_lanes(_level.model_profiles, _level.task_types, _level.level);
    end if;

    if _level.cursor is not null then
        _level.lanes := aiserv._lanes_after(_level.cursor, _level.lanes, _level.level);
    end if;
end;
$$;

comment on function aiserv._level is
'The highest priority below the one given with ready jobs in these queues, null for none, and its lanes: one for each owner with
ready jobs, or the one of the owner that is asked for. They begin at the head, or where the cursor is. is_lowest says that there is
nothing else in these queues; otherwise there may be, at this level or below.';
