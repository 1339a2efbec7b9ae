create or replace function aiserv._delete_jobs(job_ids uuid[])
returns uuid[]
language plpgsql
set search_path = pg_temp
as $$
declare
    deleted uuid[];
    batches uuid[];
begin
    with old as materialized (
        select job.id, job.outcome
        from aiserv.job as job
        where job.id = any(_delete_jobs.job_ids) and job.outcome is not null
    ),
    -- A retry holds this row before it touches the job's; so does a delete, and leaves alone what is held.
    listed as materialized (
        select free.job_id
        from (select known.id from old as known where known.outcome <> 'completed' order by known.id) as old
        -- One by one, in order of id: a join that is to be in order may walk all there are and compare each with each.
        cross join lateral (
            select unsuccessful.job_id
            from aiserv.unsuccessful as unsuccessful
            where unsuccessful.job_id = old.id
            limit 1
            for update skip locked
        ) as free
    ),
    unlisted as (
        delete from aiserv.unsuccessful as unsuccessful
        where unsuccessful.job_id = any(array(select listed.job_id from listed))
    ),
    held as materialized (
        select free.id
        from (
            select known.id
            from old as known
            where known.outcome = 'completed' or known.id in (select listed.job_id from listed)
            order by known.id
        ) as old
        cross join lateral (
            select job.id from aiserv.job as job where job.id = old.id limit 1 for update skip locked
        ) as free
    ),
    gone as (
        delete from aiserv.job as job
        where job.id = any(array(select held.id from held))
        returning job.id, job.owner_service, job.idempotency_key, job.batch_id
    ),
    forgotten as (
        delete from aiserv.idempotency as known
        using gone
        where known.owner_service = any(array[gone.owner_service])
          and known.idempotency_key = gone.idempotency_key
    ),
    history as (
        delete from aiserv.attempt as attempt where attempt.job_id = any(array(select gone.id from gone))
    )
    select coalesce(array_agg(gone.id), '{}'), array_agg(distinct gone.batch_id) into deleted, batches from gone;

    -- Only those that jobs went from: to look at others, too, is dear while there are many. See _prune_batches for the rest.
    delete from aiserv.batch as batch where batch.id = any(batches) and aiserv._are_gone(batch.job_ids);
    return deleted;
end;
$$;

comment on function aiserv._delete_jobs is
'Delete those of these jobs that are finished and that nobody holds, with their attempts and keys, and batches of theirs that have no
job left. Returns their ids.';
