create or replace function aiserv._take(
    model_profiles text[],
    task_types     text[],
    level          integer,
    max_jobs       integer,
    max_bytes      bigint,
    claimer        aiserv._claimer,
    out job_ids    uuid[],
    out bytes      bigint
)
language plpgsql
set search_path = ''
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    owners bigint;
begin
    with recursive lane(model_profile, task_type, owner_service) as (
        select queue.model_profile, queue.task_type, first.owner_service
        from unnest(_take.model_profiles, _take.task_types) as queue(model_profile, task_type)
        cross join lateral (
            select ready.owner_service
            from aiserv.ready as ready
            where ready.model_profile = queue.model_profile
              and ready.task_type = queue.task_type
              and ready.priority = _take.level
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
              and ready.priority = _take.level
              and ready.owner_service > lane.owner_service
            order by ready.owner_service
            limit 1
        ) as next
    ),
    crowd as materialized (
        select count(distinct lane.owner_service) as owners from lane
    ),
    candidate as materialized (
        select
            spot.place,
            spot.job_id,
            spot.input_bytes,
            lane.owner_service,
            row_number() over (partition by lane.owner_service order by spot.run_at, spot.job_id) as round,
            max(turn.served_at) over (partition by lane.owner_service) as served_at
        from lane
        cross join crowd
        left join aiserv.turn as turn
            on crowd.owners > 1
            and turn.model_profile = lane.model_profile
            and turn.task_type = lane.task_type
            and turn.owner_service = lane.owner_service
        cross join lateral (
            select ready.ctid as place, ready.job_id, ready.run_at, ready.input_bytes
            from aiserv.ready as ready
            where ready.model_profile = lane.model_profile
              and ready.task_type = lane.task_type
              and ready.priority = _take.level
              and ready.owner_service = lane.owner_service
            order by ready.run_at, ready.job_id
            limit (_take.max_jobs + crowd.owners - 1) / crowd.owners
            for update skip locked
        ) as spot
    ),
    line as materialized (
        select
            candidate.*,
            row_number() over turns as position,
            sum(candidate.input_bytes) over turns - candidate.input_bytes as bytes_before
        from candidate
        window turns as (order by candidate.round, candidate.served_at nulls first, candidate.owner_service)
    ),
    taken as (
        -- By address: the rows are locked, and rows of ready are never updated.
        delete from aiserv.ready as ready
        using line
        where ready.ctid = line.place and line.position <= _take.max_jobs and line.bytes_before < _take.max_bytes
        returning ready.*, line.position
    ),
    leased as (
        insert into aiserv.lease (
            job_id, attempt, worker_id, instance_id, claim_id, owner_service, task_type, model_profile, lease,
            lease_expires_at, started_at, updated_at
        )
        select
            taken.job_id, job.attempt + 1, claimer.worker_id, claimer.instance_id, claimer.claim_id, taken.owner_service,
            taken.task_type, taken.model_profile, claimer.lease, claimer.claimed_at + claimer.lease, claimer.claimed_at,
            claimer.claimed_at
        from taken
        join aiserv.job as job on job.id = taken.job_id
    )
    select
        coalesce(array_agg(taken.job_id order by taken.position), '{}'),
        coalesce(sum(taken.input_bytes), 0),
        (select crowd.owners from crowd)
    into _take.job_ids, _take.bytes, owners
    from taken;

    if owners > 1 and _take.bytes > 0 then
        perform aiserv._remember_turns(_take.job_ids);
    end if;
end;
$$;

comment on function aiserv._take is
'Lease up to max_jobs ready jobs of one priority level from these queues to the claimer: owners in turns, within an owner by
run_at, then id; no further job once their inputs have max_bytes.';
