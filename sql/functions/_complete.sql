create or replace function aiserv._complete(
    job_ids    uuid[],
    attempts   integer[],
    worker_ids text[],
    results    json[],
    usages     json[]
)
returns uuid[]
language plpgsql
set search_path = ''
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    completed uuid[];
begin
    -- The lease row is the right to settle: whoever deletes it holds the attempt. In order of id, as every lock.
    with held as (
        delete from aiserv.lease as lease
        using (
            select *
            from unnest(
                _complete.job_ids, _complete.attempts, _complete.worker_ids, _complete.results, _complete.usages
            ) as item(job_id, attempt, worker_id, result, usage)
            order by item.job_id
        ) as item
        where lease.job_id = item.job_id
          and lease.attempt = coalesce(item.attempt, lease.attempt)
          and lease.worker_id = coalesce(item.worker_id, lease.worker_id)
        returning lease.job_id, lease.attempt, lease.worker_id, lease.started_at, item.result, item.usage
    ),
    done as (
        update aiserv.job as job
        set outcome = 'completed',
            result = held.result,
            usage = held.usage,
            attempt = held.attempt,
            worker_id = held.worker_id,
            started_at = held.started_at,
            finished_at = clock_timestamp(),
            updated_at = clock_timestamp(),
            error_category = null,
            error_message = null
        from held
        where job.id = held.job_id
        returning job.id
    )
    select coalesce(array_agg(done.id), '{}') into completed from done;
    return completed;
end;
$$;

comment on function aiserv._complete is 'Complete those of the jobs whose lease the given attempt and worker hold (null: whoever holds it) and return their ids.';
