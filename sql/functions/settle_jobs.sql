create or replace function aiserv.settle_jobs(
    settlements json,
    fenced      boolean default true
)
returns setof aiserv.settlement
language plpgsql
security definer
set search_path = pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    items      json[];
    complaints text[];
    job_ids    uuid[];
    attempts   integer[];
    worker_ids text[];
    results    json[];
    usages     json[];
    completed  bigint[];
begin
    if json_typeof(settle_jobs.settlements) is distinct from 'array' then
        raise exception using errcode = 'JV400', message = 'settlements: must be an array';
    end if;
    select read.items, read.complaints, read.job_ids, read.attempts, read.worker_ids, read.results, read.usages
    into items, complaints, job_ids, attempts, worker_ids, results, usages
    from aiserv._read_settlements(settle_jobs.settlements, settle_jobs.fenced) as read;

    if exists (select from unnest(results) as each(result) where each.result is null) then
        -- Completions go first, failures one by one after them: without this neither the leases would be taken in order of id,
        -- nor the rates of their queues in that of their names, as claims take them.
        perform from aiserv.lease as lease where lease.job_id = any(job_ids) order by lease.job_id for update;
        perform
        from aiserv.queue_setting as setting
        where setting.tokens_per_minute is not null
          and setting.model_profile = any(array(select lease.model_profile from aiserv.lease as lease where lease.job_id = any(job_ids)))
        order by setting.model_profile, setting.task_type
        for update;
    end if;
    completed := aiserv._complete(job_ids, attempts, worker_ids, results, usages);

    -- As nearly always: nothing to explain.
    if cardinality(completed) = cardinality(job_ids) then
        return query
        select listed.id, 'completed', null::text, null::text, null::text
        from unnest(job_ids) with ordinality as listed(id, position)
        order by listed.position;
        return;
    end if;

    return query
    with answered as materialized (
        select
            each.position,
            case
                when each.complaint is not null then (null, null, 'JV400', each.complaint, 'The others were taken.')::aiserv.settlement
                when each.position = any(completed) then (each.id, 'completed', null, null, null)::aiserv.settlement
                when each.result is not null then aiserv._completion_answer(each.id, each.attempt, each.worker_id, each.result)
                else aiserv._settle_failure(each.item)
            end as answer
        from (
            select listed.*
            from unnest(items, complaints, job_ids, attempts, worker_ids, results)
                with ordinality as listed(item, complaint, id, attempt, worker_id, result, position)
            order by listed.id, listed.position
        ) as each
    )
    select (answered.answer).* from answered order by answered.position;
end;
$$;

comment on function aiserv.settle_jobs is
'Complete and fail many jobs in one transaction. settlements is a JSON array of {"id", "attempt", "result", "worker_id"?, "usage"?}
and {"id", "attempt", "category", "message", "worker_id"?, "retryable"?, "retry_after"?, "usage"?}. Returns in order what became of
each: its status, or the code, detail and hint of a refusal (JV400, without an id: it makes no sense); one refused item fails alone.
With fenced => false an item may lack attempt, and means whoever runs the job.
Raises JV400 when settlements is no array.';
