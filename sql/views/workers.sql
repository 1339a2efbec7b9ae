create or replace view aiserv.workers as
select
    worker.worker_id,
    worker.instance_id,
    worker.kind,
    worker.task_types,
    worker.model_profiles,
    worker.slots,
    coalesce(held.busy, 0) as busy,
    worker.last_seen_at,
    case when worker.last_seen_at > clock_timestamp() - interval '75 seconds' then 'live' else 'lost' end as state,
    coalesce(held.jobs, '[]') as jobs,
    worker.started_at,
    worker.owner_service
from aiserv.worker as worker
left join (
    select
        lease.instance_id,
        count(*) as busy,
        json_agg(json_build_object('id', lease.job_id, 'attempt', lease.attempt) order by lease.job_id) as jobs
    from aiserv.lease as lease
    group by lease.instance_id
) as held on held.instance_id = worker.instance_id;

comment on view aiserv.workers is 'Who claims: built-in workers, one row for each start, and workers over HTTP or psql, one row for each worker_id, and owner if for one alone.';
comment on column aiserv.workers.worker_id is 'The name it gave.';
comment on column aiserv.workers.instance_id is 'One start of it; for workers over HTTP and psql made of the name.';
comment on column aiserv.workers.kind is 'builtin or http.';
comment on column aiserv.workers.task_types is 'What it takes; empty is anything.';
comment on column aiserv.workers.model_profiles is 'For which models; empty is any.';
comment on column aiserv.workers.slots is 'How many jobs at once it can do, if it said so.';
comment on column aiserv.workers.busy is 'How many jobs it holds.';
comment on column aiserv.workers.last_seen_at is 'When it last claimed, to about ten seconds.';
comment on column aiserv.workers.state is 'live, or lost when it has not been seen for 75 seconds.';
comment on column aiserv.workers.jobs is 'The jobs it holds: id and attempt.';
comment on column aiserv.workers.started_at is 'When it was first seen.';
comment on column aiserv.workers.owner_service is 'The only owner whose jobs it takes; null is all of them.';
