create or replace view aiserv.stuck_jobs as
select job.*, 'its lease is over and nobody recovers it: is a server or worker running?' as why
from aiserv.jobs as job
where job.id in (
    select lease.job_id from aiserv.lease as lease where lease.lease_expires_at < clock_timestamp() - interval '10 seconds'
)
union all
select job.*, 'it is due, and no live worker takes this task type of this model profile' as why
from aiserv.ready as ready
join aiserv.jobs as job on job.id = ready.job_id
where ready.run_at < clock_timestamp() - interval '1 minute'
  and not exists (
    select
    from aiserv.workers as worker
    where worker.state = 'live'
      and (worker.model_profiles = '{}' or ready.model_profile = any(worker.model_profiles))
      and (worker.task_types = '{}' or ready.task_type = any(worker.task_types))
  );

comment on view aiserv.stuck_jobs is 'Jobs that will not go on by themselves, and why: a column more than aiserv.jobs.';
