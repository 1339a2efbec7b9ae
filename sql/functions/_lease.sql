create or replace function aiserv._lease(
    places      tid[],
    max_bytes   bigint,
    claimer     aiserv._claimer,
    out job_ids uuid[],
    out bytes   bigint
)
language plpgsql
set search_path = ''
as $$
begin
    with weighed as materialized (
        select spot.place, spot.turn, sum(ready.input_bytes) over (order by spot.turn) - ready.input_bytes as bytes_before
        from unnest(_lease.places) with ordinality as spot(place, turn)
        join aiserv.ready as ready on ready.ctid = spot.place
    ),
    taken as (
        delete from aiserv.ready as ready
        using weighed
        where ready.ctid = weighed.place and weighed.bytes_before < _lease.max_bytes
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
    select coalesce(array_agg(taken.job_id order by taken.turn), '{}'), coalesce(sum(taken.input_bytes), 0)
    into _lease.job_ids, _lease.bytes
    from taken;
end;
$$;

comment on function aiserv._lease is
'Lease the ready jobs that lie at these places, which the caller has locked, to the claimer; no further one once their inputs have max_bytes.';
