create or replace function aiserv._hold(
    lanes       aiserv._lane[],
    level       integer,
    max_jobs    integer,
    depth       integer,
    out places  tid[],
    out job_ids uuid[],
    out sizes   integer[],
    out is_last boolean
)
language plpgsql
set search_path = pg_temp
as $$
declare
    lane aiserv._lane := lanes[1];
begin
    if cardinality(_hold.lanes) = 1 then
        -- The usual case: with one owner there are no turns, and what other claims hold is skipped on the way.
        select array_agg(held.ctid), array_agg(held.job_id), array_agg(held.input_bytes), count(*) < _hold.max_jobs
        into _hold.places, _hold.job_ids, _hold.sizes, _hold.is_last
        from (
            select ready.ctid, ready.job_id, ready.input_bytes
            from aiserv.ready as ready
            where ready.model_profile = lane.model_profile
              and ready.task_type = lane.task_type
              and ready.priority = _hold.level
              and ready.owner_service = lane.owner_service
              and (ready.run_at, ready.job_id) > (lane.run_at, lane.job_id)
            order by ready.run_at, ready.job_id
            limit _hold.max_jobs
            for update skip locked
        ) as held;
        return;
    end if;

    with line as materialized (
        select spot.* from aiserv._line(_hold.lanes, _hold.level, _hold.max_jobs, _hold.depth) as spot
    ),
    -- In the order of turns and no more than are wanted: another claim must not miss what this one locks and leaves.
    held as materialized (
        select ready.ctid as place, ready.job_id, ready.input_bytes, line.turn
        from line
        join aiserv.ready as ready on ready.ctid = line.place
        order by line.turn
        limit _hold.max_jobs
        for update of ready skip locked
    )
    select
        array_agg(held.place order by held.turn), array_agg(held.job_id order by held.turn),
        array_agg(held.input_bytes order by held.turn),
        count(*) < _hold.max_jobs and not exists (select from line where line.is_cut)
    into _hold.places, _hold.job_ids, _hold.sizes, _hold.is_last
    from held;
end;
$$;

comment on function aiserv._hold is
'Lock up to max_jobs ready jobs of these lanes, in the order of claims, and say where they lie and how large their inputs are; null
for none. is_last says that the lanes hold nothing else; otherwise what is left may lie deeper than other claims hold.';
