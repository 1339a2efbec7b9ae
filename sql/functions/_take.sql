create or replace function aiserv._take(
    model_profiles text[],
    task_types     text[],
    level          integer,
    max_jobs       integer,
    depth          integer,
    max_bytes      bigint,
    claimer        aiserv._claimer,
    out job_ids    uuid[],
    out bytes      bigint,
    out is_last    boolean
)
language plpgsql
set search_path = ''
as $$
declare
    owners bigint;
begin
    with line as materialized (
        select spot.*
        from aiserv._line(_take.model_profiles, _take.task_types, _take.level, _take.max_jobs, _take.depth) as spot
    ),
    -- In the order of turns and no more than are wanted: another claim must not miss what this one locks and leaves.
    held as materialized (
        select ready.ctid as place, ready.input_bytes, line.turn
        from line
        join aiserv.ready as ready on ready.ctid = line.place
        order by line.turn
        limit _take.max_jobs
        for update of ready skip locked
    ),
    weighed as materialized (
        select held.place, held.turn, sum(held.input_bytes) over (order by held.turn) - held.input_bytes as bytes_before
        from held
    ),
    taken as (
        delete from aiserv.ready as ready
        using weighed
        where ready.ctid = weighed.place and weighed.bytes_before < _take.max_bytes
        returning ready.*, weighed.turn
    ),
    moment as materialized (
        -- Read after the jobs were found: nothing starts before it was created.
        select clock_timestamp() as now from taken limit 1
    ),
    leased as (
        insert into aiserv.lease (
            job_id, attempt, worker_id, instance_id, claim_id, owner_service, task_type, model_profile, lease,
            lease_expires_at, started_at, updated_at
        )
        select
            taken.job_id, job.attempt + 1, claimer.worker_id, claimer.instance_id, claimer.claim_id, taken.owner_service,
            taken.task_type, taken.model_profile, claimer.lease, moment.now + claimer.lease, moment.now, moment.now
        from taken
        cross join moment
        join aiserv.job as job on job.id = taken.job_id
    )
    select
        coalesce(array_agg(taken.job_id order by taken.turn), '{}'),
        coalesce(sum(taken.input_bytes), 0),
        count(*) < _take.max_jobs and not exists (select from line where line.is_cut),
        (select max(line.owners) from line)
    into _take.job_ids, _take.bytes, _take.is_last, owners
    from taken;

    if owners > 1 and _take.job_ids <> '{}' then
        perform aiserv._remember_turns(_take.job_ids);
    end if;
end;
$$;

comment on function aiserv._take is
'Lease up to max_jobs ready jobs of one priority level from these queues to the claimer, no further one once their inputs have
max_bytes. is_last says that the level holds nothing else; otherwise what is left may lie deeper than other claims hold.';
