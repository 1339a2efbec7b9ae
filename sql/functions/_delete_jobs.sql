create or replace function aiserv._delete_jobs(job_ids uuid[])
returns integer
language plpgsql
set search_path = pg_temp
as $$
declare
    deleted integer;
begin
    -- `any` and `between`, where = is meant: see _complete.
    with old as materialized (
        select job.id, job.outcome
        from unnest(_delete_jobs.job_ids) as given(id)
        join aiserv.job as job on job.id = any(array[given.id])
        where job.outcome is not null
    ),
    -- A retry holds this row before it touches the job's; so does a delete, and leaves alone what is held.
    listed as materialized (
        select unsuccessful.job_id
        from old
        join aiserv.unsuccessful as unsuccessful on unsuccessful.job_id between old.id and old.id
        where old.outcome <> 'completed'
        order by unsuccessful.job_id
        for update of unsuccessful skip locked
    ),
    unlisted as (
        delete from aiserv.unsuccessful as unsuccessful
        using listed
        where unsuccessful.job_id between listed.job_id and listed.job_id
    ),
    held as materialized (
        select job.id
        from old
        join aiserv.job as job on job.id = any(array[old.id])
        where old.outcome = 'completed' or old.id in (select listed.job_id from listed)
        order by job.id
        for update of job skip locked
    ),
    gone as (
        delete from aiserv.job as job
        using held
        where job.id = any(array[held.id])
        returning job.id, job.owner_service, job.idempotency_key
    ),
    forgotten as (
        delete from aiserv.idempotency as known
        using gone
        where known.owner_service = gone.owner_service and known.idempotency_key = gone.idempotency_key
    ),
    history as (
        delete from aiserv.attempt as attempt using gone where attempt.job_id = gone.id
    )
    select count(*) into deleted from gone;
    return deleted;
end;
$$;

comment on function aiserv._delete_jobs is
'Delete those of these jobs that are finished and that nobody holds, with their attempts and keys. Returns how many.';
