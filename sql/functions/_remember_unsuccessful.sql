create or replace function aiserv._remember_unsuccessful(job_ids uuid[])
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    insert into aiserv.unsuccessful (
        job_id, owner_service, task_type, model_profile, outcome, error_category, worker_id, finished_at
    )
    select
        job.id, job.owner_service, job.task_type, job.model_profile, job.outcome, job.error_category, job.worker_id,
        job.finished_at
    from aiserv.job as job
    where job.id = any(_remember_unsuccessful.job_ids);
end;
$$;

comment on function aiserv._remember_unsuccessful is 'List jobs that have just failed or been cancelled in aiserv.unsuccessful.';
