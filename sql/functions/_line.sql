create or replace function aiserv._line(
    lanes    aiserv._lane[],
    level    integer,
    max_jobs integer,
    depth    integer
)
returns table (place tid, turn bigint, is_cut boolean)
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    owners bigint := (select count(distinct lane.owner_service) from unnest(_line.lanes) as lane);
    reach  bigint := (_line.max_jobs + owners - 1) / nullif(owners, 0) * _line.depth;
begin
    return query
    with candidate as materialized (
        select
            spot.place,
            lane.owner_service,
            row_number() over (partition by lane.owner_service order by spot.run_at, spot.job_id) as round,
            max(recent.served_at) over (partition by lane.owner_service) as served_at,
            count(*) over (partition by lane.model_profile, lane.task_type, lane.owner_service) = reach as is_cut
        from unnest(_line.lanes) as lane
        -- One by one: in a join each lane might be compared with every other.
        left join lateral (
            select turn.served_at
            from aiserv.turn as turn
            where turn.model_profile = lane.model_profile
              and turn.task_type = lane.task_type
              and turn.owner_service = lane.owner_service
            limit 1
        ) as recent on true
        cross join lateral (
            select ready.ctid as place, ready.job_id, ready.run_at
            from aiserv.ready as ready
            where ready.model_profile = lane.model_profile
              and ready.task_type = lane.task_type
              and ready.priority = _line.level
              and ready.owner_service = lane.owner_service
              and (ready.run_at, ready.job_id) > (lane.run_at, lane.job_id)
            order by ready.run_at, ready.job_id
            limit reach
        ) as spot
    )
    select
        candidate.place,
        row_number() over (order by candidate.round, candidate.served_at nulls first, candidate.owner_service),
        candidate.is_cut
    from candidate;
end;
$$;

comment on function aiserv._line is
'The ready jobs of one priority level in the order of claims: owners in turns, within an owner by run_at, then id. Not locked, and
of each lane only as many as are needed to give max_jobs, times depth; is_cut where there may be more.';
