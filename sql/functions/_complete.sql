create or replace function aiserv._complete(
    job_ids    uuid[],
    attempts   integer[],
    worker_ids text[],
    results    json[],
    usages     json[]
)
returns bigint[]
language plpgsql
set search_path = pg_temp
as $$
declare
    completed bigint[];
begin
    -- In one statement out of the place and into the outcome: there is nothing for _guard_outcome to look up.
    perform set_config('aiserv.moving', 'yes', true);
    -- The lease row is the right to settle: whoever deletes it holds the attempt. In order of id, as every lock;
    -- of two results for one attempt the first counts.
    with held as (
        delete from aiserv.lease as lease
        using (
            select distinct on (item.job_id, item.attempt, item.worker_id) item.*
            from unnest(
                _complete.job_ids, _complete.attempts, _complete.worker_ids, _complete.results, _complete.usages
            ) with ordinality as item(job_id, attempt, worker_id, result, usage, position)
            where item.result is not null
            order by item.job_id, item.attempt, item.worker_id, item.position
        ) as item
        where lease.job_id = any(array[item.job_id])
          and lease.attempt = coalesce(item.attempt, lease.attempt)
          and lease.worker_id = coalesce(item.worker_id, lease.worker_id)
        returning
            lease.job_id, lease.attempt, lease.worker_id, lease.started_at, item.result, item.usage, item.position,
            clock_timestamp() as moment
    ),
    done as (
        update aiserv.job as job
        set outcome = 'completed',
            result = held.result,
            usage = held.usage,
            attempt = held.attempt,
            worker_id = held.worker_id,
            started_at = held.started_at,
            finished_at = held.moment,
            updated_at = held.moment,
            error_category = null,
            error_message = null
        from held
        where job.id = any(array[held.job_id])
        returning held.position
    )
    select coalesce(array_agg(done.position), '{}') into completed from done;
    perform set_config('aiserv.moving', '', true);
    return completed;
end;
$$;

comment on function aiserv._complete is
'Complete those of the jobs with a result whose lease the given attempt and worker hold (null: whoever holds it); returns their
positions in the arrays.';
