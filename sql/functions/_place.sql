create or replace function aiserv._place(
    job_ids uuid[],
    due     timestamptz
)
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
    select job.model_profile, job.task_type, job.priority, job.owner_service, job.run_at, job.id, job.input_bytes
    from aiserv.job as job
    where job.id = any(_place.job_ids) and job.run_at <= _place.due;

    insert into aiserv.scheduled (model_profile, task_type, run_at, job_id, priority, owner_service, input_bytes)
    select job.model_profile, job.task_type, job.run_at, job.id, job.priority, job.owner_service, job.input_bytes
    from aiserv.job as job
    where job.id = any(_place.job_ids) and job.run_at > _place.due;
end;
$$;

comment on function aiserv._place is
'Put jobs that are pending again into aiserv.ready, or into aiserv.scheduled if their run_at is after due.';
