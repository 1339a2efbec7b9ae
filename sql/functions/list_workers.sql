create or replace function aiserv.list_workers(owner_service text default null)
returns setof aiserv.workers
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
begin
    return query
    select
        worker.worker_id, worker.instance_id, worker.kind, worker.task_types, worker.model_profiles, worker.slots,
        case when list_workers.owner_service is null then worker.busy else coalesce(own.busy, 0) end,
        worker.last_seen_at, worker.state,
        case when list_workers.owner_service is null then worker.jobs else coalesce(own.jobs, '[]') end,
        worker.started_at,
        worker.owner_service
    from aiserv.workers as worker
    left join (
        select
            lease.instance_id,
            count(*) as busy,
            json_agg(json_build_object('id', lease.job_id, 'attempt', lease.attempt) order by lease.job_id) as jobs
        from aiserv.lease as lease
        where lease.owner_service = list_workers.owner_service
        group by lease.instance_id
    ) as own on own.instance_id = worker.instance_id
    where list_workers.owner_service is null or coalesce(worker.owner_service, list_workers.owner_service) = list_workers.owner_service
    order by worker.worker_id, worker.started_at;
end;
$$;

comment on function aiserv.list_workers is
'The workers seen in the last day, live or lost, with the jobs they hold; with owner_service its jobs alone, and not those who work
for another owner alone.';
