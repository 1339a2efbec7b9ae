create or replace view aiserv.stuck_jobs as
select
    job.id,
    job.owner_service,
    job.owner_ref,
    job.task_type,
    job.model_profile,
    job.status,
    job.attempt,
    job.worker_id,
    job.run_at,
    job.lease_expires_at,
    stuck.why
from (
    select lease.job_id, 'its lease is over and nobody recovers it: does any server or worker run?' as why
    from aiserv.lease as lease
    where lease.lease_expires_at < clock_timestamp() - interval '10 seconds'
    union all
    select ready.job_id, 'it is due, and no live worker takes this task type of this model profile'
    from aiserv.ready as ready
    where ready.run_at < clock_timestamp() - interval '1 minute'
      and not exists (
        select
        -- As _is_served has it, which readers may not execute.
        from aiserv.worker as worker
        where worker.last_seen_at > clock_timestamp() - interval '75 seconds'
          and (worker.model_profiles = '{}' or ready.model_profile = any(worker.model_profiles))
          and (worker.task_types = '{}' or ready.task_type = any(worker.task_types))
          and (worker.queues -> ready.model_profile ? ready.task_type) is not false
          and (worker.owner_service is null or worker.owner_service = ready.owner_service)
      )
) as stuck
join aiserv.jobs as job on job.id = stuck.job_id;

comment on view aiserv.stuck_jobs is 'The jobs that will not go on by themselves, and why.';
comment on column aiserv.stuck_jobs.id is 'The job.';
comment on column aiserv.stuck_jobs.owner_service is 'The calling service.';
comment on column aiserv.stuck_jobs.owner_ref is 'The caller''s stable reference.';
comment on column aiserv.stuck_jobs.task_type is 'What kind of work it is.';
comment on column aiserv.stuck_jobs.model_profile is 'Which model is to do it.';
comment on column aiserv.stuck_jobs.status is 'pending or running.';
comment on column aiserv.stuck_jobs.attempt is 'How often it was claimed.';
comment on column aiserv.stuck_jobs.worker_id is 'The worker that holds it.';
comment on column aiserv.stuck_jobs.run_at is 'Since when it is due.';
comment on column aiserv.stuck_jobs.lease_expires_at is 'When its lease ran out.';
comment on column aiserv.stuck_jobs.why is 'What keeps it.';
