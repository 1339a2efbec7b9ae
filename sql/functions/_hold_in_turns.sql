create or replace function aiserv._hold_in_turns(
    lanes       aiserv._lane[],
    level       integer,
    max_jobs    integer,
    depth       integer,
    out places  tid[],
    out sizes   integer[],
    out bytes   bigint,
    out numbers bigint[],
    out is_last boolean
)
language plpgsql
set search_path = pg_temp
as $$
declare
    owners bigint := (select count(distinct lane.owner_service) from unnest(_hold_in_turns.lanes) as lane);
    -- Of how many owners, and of how many jobs of each: so many that another claim may hold as many as are wanted here.
    width  bigint := (2 * _hold_in_turns.max_jobs + 8) * _hold_in_turns.depth;
    reach  bigint := (_hold_in_turns.max_jobs + owners - 1) / nullif(owners, 0) * _hold_in_turns.depth;
begin
    with candidate as materialized (
        select
            spot.place,
            lane.number,
            lane.turn,
            row_number() over (partition by lane.turn order by spot.run_at, spot.job_id) as round
        from (
            select known.*, dense_rank() over (order by known.served_at nulls first, known.owner_service) as turn
            from (
                select lane.*, max(recent.served_at) over (partition by lane.owner_service) as served_at
                from unnest(_hold_in_turns.lanes)
                    with ordinality as lane(model_profile, task_type, owner_service, run_at, job_id, number)
                -- One by one: in a join each lane might be compared with every other.
                left join lateral (
                    select turn.served_at
                    from aiserv.turn as turn
                    where turn.model_profile = lane.model_profile
                      and turn.task_type = lane.task_type
                      and turn.owner_service = lane.owner_service
                    limit 1
                ) as recent on true
            ) as known
        ) as lane
        cross join lateral (
            select ready.ctid as place, ready.job_id, ready.run_at
            from aiserv.ready as ready
            where ready.queue_key = aiserv._queue_key(lane.model_profile, lane.task_type)
              and ready.priority = _hold_in_turns.level
              and ready.owner_key = aiserv._owner_key(lane.owner_service)
              and ready.model_profile = lane.model_profile and ready.task_type = lane.task_type
              and ready.owner_service = lane.owner_service
              and (ready.run_at, ready.job_id) > (lane.run_at, lane.job_id)
            order by ready.run_at, ready.job_id
            limit reach
        ) as spot
        where lane.turn <= width
    ),
    -- In the order of turns and no more than are wanted: another claim must not miss what this one locks and leaves.
    held as materialized (
        select ready.ctid as place, ready.input_bytes, candidate.number
        from candidate
        join aiserv.ready as ready on ready.ctid = candidate.place
        order by candidate.round, candidate.turn
        limit _hold_in_turns.max_jobs
        for update of ready skip locked
    )
    select
        array_agg(held.place), array_agg(held.input_bytes), sum(held.input_bytes), array_agg(held.number),
        count(*) < _hold_in_turns.max_jobs and owners <= width and not exists (select from candidate where candidate.round >= reach)
    into
        _hold_in_turns.places, _hold_in_turns.sizes, _hold_in_turns.bytes, _hold_in_turns.numbers, _hold_in_turns.is_last
    from held;
end;
$$;

comment on function aiserv._hold_in_turns is
'Lock up to max_jobs ready jobs of these lanes: owners in turns, within an owner by run_at, then id. Says in that order where they
lie, how large their inputs are, each and together, and in which of the lanes; null for none. It looks only at as many owners, and of
each lane at as many jobs, as may be needed to give max_jobs, times depth; is_last says that the lanes hold nothing else, otherwise
what is left may lie deeper than other claims hold.';
