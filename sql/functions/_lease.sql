create or replace function aiserv._lease(
    places  tid[],
    claimer aiserv._claimer
)
returns aiserv.jobs[]
language plpgsql
set search_path = pg_temp
as $$
declare
    moment timestamptz;
    leased aiserv.jobs[];
begin
    -- In one statement from place to place, each job once: there is nothing for _guard_place to look up.
    perform set_config('aiserv.moving', 'yes', true);
    -- Read after the jobs were found: nothing starts before it was created.
    moment := clock_timestamp();
    with taken as (
        delete from aiserv.ready as ready
        using unnest(_lease.places) with ordinality as place(spot, number)
        where ready.ctid = place.spot
        returning ready.job_id, place.number
    ),
    held as (
        insert into aiserv.lease (
            job_id, attempt, worker_id, instance_id, claim_id, owner_service, task_type, model_profile, lease, lease_expires_at,
            started_at, updated_at
        )
        select
            job.id, job.attempt + 1, claimer.worker_id, claimer.instance_id, claimer.claim_id, job.owner_service,
            job.task_type, job.model_profile, claimer.lease, moment + claimer.lease, moment, moment
        from taken
        join aiserv.job as job on job.id = any(array[taken.job_id])
    )
    select array_agg(found.job order by found.number)
    into leased
    from (
        -- As aiserv.jobs shows them now.
        select
            taken.number,
            row(
                job.id, job.owner_service, job.owner_ref, job.task_type, job.model_profile, 'running', job.priority,
                -- A larger one would be copied from function to function.
                case when job.input_bytes <= 2000 then job.input end,
                job.result, null, job.metadata, job.usage, job.error_category, job.error_message, job.attempt + 1,
                job.failures, job.max_attempts, claimer.worker_id, job.idempotency_key, job.batch_id, job.traceparent, job.run_at,
                moment + claimer.lease, job.timeout_seconds, job.created_at, moment, moment, job.finished_at
            )::aiserv.jobs as job
        from taken
        join aiserv.job as job on job.id = any(array[taken.job_id])
        offset 0
    ) as found;
    perform set_config('aiserv.moving', '', true);
    -- Those that could run out between two regular looks, which come every 30 seconds. Not in a trigger: all leases are made here,
    -- and by then the table of new rows has cost more than all this.
    if claimer.lease < interval '45 seconds' then
        perform pg_notify('aiserv_scheduled', short.model_profile)
        from (select distinct job.model_profile from unnest(leased) as job) as short;
    end if;
    return leased;
end;
$$;

comment on function aiserv._lease is
'Lease the ready jobs that lie at these places, which the caller has locked, to the claimer; returns them in that order,
without the inputs of more than 2,000 bytes.';
