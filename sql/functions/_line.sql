create or replace function aiserv._line(
    model_profiles text[],
    task_types     text[],
    level          integer,
    max_jobs       integer,
    depth          integer
)
returns table (place tid, turn bigint, owners bigint, is_cut boolean)
language plpgsql
stable
set search_path = ''
as $$
begin
    return query
    with recursive lane(model_profile, task_type, owner_service) as (
        select queue.model_profile, queue.task_type, first.owner_service
        from unnest(_line.model_profiles, _line.task_types) as queue(model_profile, task_type)
        cross join lateral (
            select ready.owner_service
            from aiserv.ready as ready
            where ready.model_profile = queue.model_profile
              and ready.task_type = queue.task_type
              and ready.priority = _line.level
            order by ready.owner_service
            limit 1
        ) as first
        union all
        select lane.model_profile, lane.task_type, next.owner_service
        from lane
        cross join lateral (
            select ready.owner_service
            from aiserv.ready as ready
            where ready.model_profile = lane.model_profile
              and ready.task_type = lane.task_type
              and ready.priority = _line.level
              and ready.owner_service > lane.owner_service
            order by ready.owner_service
            limit 1
        ) as next
    ),
    crowd as materialized (
        select count(distinct lane.owner_service) as owners from lane
    ),
    reach as materialized (
        select ((_line.max_jobs + crowd.owners - 1) / nullif(crowd.owners, 0) * _line.depth) as length from crowd
    ),
    candidate as materialized (
        select
            spot.place,
            lane.owner_service,
            row_number() over (partition by lane.owner_service order by spot.run_at, spot.job_id) as round,
            max(recent.served_at) over (partition by lane.owner_service) as served_at,
            count(*) over (partition by lane.model_profile, lane.task_type, lane.owner_service) = reach.length as is_cut
        from lane
        cross join crowd
        cross join reach
        left join aiserv.turn as recent
            on crowd.owners > 1
            and recent.model_profile = lane.model_profile
            and recent.task_type = lane.task_type
            and recent.owner_service = lane.owner_service
        cross join lateral (
            select ready.ctid as place, ready.job_id, ready.run_at
            from aiserv.ready as ready
            where ready.model_profile = lane.model_profile
              and ready.task_type = lane.task_type
              and ready.priority = _line.level
              and ready.owner_service = lane.owner_service
            order by ready.run_at, ready.job_id
            limit reach.length
        ) as spot
    )
    select
        candidate.place,
        row_number() over (order by candidate.round, candidate.served_at nulls first, candidate.owner_service),
        crowd.owners,
        candidate.is_cut
    from candidate
    cross join crowd;
end;
$$;

comment on function aiserv._line is
'The ready jobs of one priority level in the order of claims: owners in turns, within an owner by run_at, then id. Not locked, and
of each lane (queue and owner) only as many as are needed to give max_jobs, times depth; is_cut where there may be more.';
