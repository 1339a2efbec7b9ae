create or replace function aiserv.check_job_version(
    job_id   uuid,
    versions text[]
)
returns uuid
language plpgsql
security definer
set search_path = pg_temp
set enable_seqscan = off
as $$
declare
    actual aiserv.jobs;
begin
    if check_job_version.versions is null then
        return check_job_version.job_id;
    end if;

    -- Whoever holds the narrow row keeps the job where it is until the end of the transaction.
    perform
    from aiserv.job as job
    join aiserv.ready as ready
        on ready.queue_key = aiserv._queue_key(job.model_profile, job.task_type) and ready.priority = job.priority
        and ready.owner_key = aiserv._owner_key(job.owner_service) and ready.run_at = job.run_at and ready.job_id = job.id
    where job.id = check_job_version.job_id
    for update of ready;
    perform
    from aiserv.job as job
    join aiserv.scheduled as scheduled
        on scheduled.model_profile = job.model_profile and scheduled.task_type = job.task_type
        and scheduled.run_at = job.run_at and scheduled.job_id = job.id
    where job.id = check_job_version.job_id
    for update of scheduled;
    perform from aiserv.lease as lease where lease.job_id = check_job_version.job_id for update;

    actual := aiserv.get_job(check_job_version.job_id);
    if not aiserv.job_version(actual) = any(check_job_version.versions) then
        raise exception using
            errcode = 'JP412',
            message = format('job %s has changed', actual.id),
            detail = format('It is %s at attempt %s, version %s.', actual.status, actual.attempt, aiserv.job_version(actual)),
            hint = 'Read the job again and decide anew.';
    end if;
    return actual.id;
end;
$$;

comment on function aiserv.check_job_version is
'The id of the job, which stays as it is until the end of the transaction, if job_version gives one of these for it; or, when
versions is null, the id without a look.
Raises JN404 (no such job), JP412 (it has another version).';
