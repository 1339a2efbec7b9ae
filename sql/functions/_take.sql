create or replace function aiserv._take(
    lanes       aiserv._lane[],
    level       integer,
    max_jobs    integer,
    depth       integer,
    max_bytes   bigint,
    claimer     aiserv._claimer,
    out jobs    aiserv.jobs[],
    out bytes   bigint,
    out pages   bigint,
    out is_last boolean
)
language plpgsql
set search_path = pg_temp
as $$
declare
    lane aiserv._lane;
    held record;
    fit  integer;
begin
    _take.pages := aiserv._pages('aiserv.ready', 'aiserv.ready_pkey');
    if cardinality(_take.lanes) = 1 then
        -- The usual case: with one owner there are no turns.
        lane := _take.lanes[1];
        select
            array_agg(spot.ctid) as places, array_agg(spot.input_bytes) as sizes, sum(spot.input_bytes) as bytes,
            count(*) < _take.max_jobs as is_last
        into held
        from (
            select ready.ctid, ready.input_bytes
            from aiserv.ready as ready
            where ready.queue_key = aiserv._queue_key(lane.model_profile, lane.task_type)
              and ready.priority = _take.level
              and ready.owner_key = aiserv._owner_key(lane.owner_service)
              and ready.model_profile = lane.model_profile and ready.task_type = lane.task_type
              and ready.owner_service = lane.owner_service
              and (ready.run_at, ready.job_id) > (lane.run_at, lane.job_id)
            order by ready.run_at, ready.job_id
            limit _take.max_jobs
            for update skip locked
        ) as spot;
    else
        held := aiserv._hold_in_turns(_take.lanes, _take.level, _take.max_jobs, _take.depth);
    end if;
    -- The way to each lane takes a few, whoever holds what.
    _take.pages := aiserv._pages('aiserv.ready', 'aiserv.ready_pkey') - _take.pages - 4 * cardinality(_take.lanes);
    _take.is_last := held.is_last;
    if held.places is null then
        _take.bytes := 0;
        return;
    end if;

    -- Those with less than max_bytes before them.
    _take.bytes := held.bytes;
    fit := cardinality(held.places);
    while _take.bytes - held.sizes[fit] >= _take.max_bytes loop
        _take.bytes := _take.bytes - held.sizes[fit];
        fit := fit - 1;
    end loop;
    _take.jobs := aiserv._lease(held.places[:fit], claimer);
    if cardinality(_take.lanes) > 1 then
        perform aiserv._remember_turns(_take.lanes, held.numbers[:fit]);
    end if;
end;
$$;

comment on function aiserv._take is
'Lease up to max_jobs ready jobs of these lanes of one priority level to the claimer, no further one once their inputs have
max_bytes, and return them in order, or null. is_last says that the lanes hold nothing else; otherwise what is left may lie deeper
than other claims hold, or before the cursor. pages is how many it took to find them, but for the way to each lane.';
