create or replace function aiserv._lease(
    places  tid[],
    claimer aiserv._claimer
)
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    moment timestamptz;
begin
    -- In one statement from place to place, each job once: there is nothing for _guard_place to look up.
    perform set_config('aiserv.moving', 'yes', true);
    -- Read after the jobs were found: nothing starts before it was created.
    moment := clock_timestamp();
    with taken as (
        delete from aiserv.ready as ready where ready.ctid = any(_lease.places) returning ready.*
    )
    insert into aiserv.lease (
        job_id, attempt, worker_id, instance_id, claim_id, owner_service, task_type, model_profile, lease, lease_expires_at,
        started_at, updated_at
    )
    select
        taken.job_id, job.attempt + 1, claimer.worker_id, claimer.instance_id, claimer.claim_id, taken.owner_service,
        taken.task_type, taken.model_profile, claimer.lease, moment + claimer.lease, moment, moment
    from taken
    -- `between`: see _complete.
    join aiserv.job as job on job.id between taken.job_id and taken.job_id;
    perform set_config('aiserv.moving', '', true);
end;
$$;

comment on function aiserv._lease is 'Lease the ready jobs that lie at these places, which the caller has locked, to the claimer.';
