create or replace function aiserv._places(
    job_id        uuid,
    model_profile text,
    task_type     text,
    priority      integer,
    owner_service text,
    run_at        timestamptz
)
returns setof text
language sql
stable
as $$
    -- `limit`, where one row has the key at most: else all rows of a table that seems small might be read for each job.
    (select 'lease' from aiserv.lease as lease where lease.job_id = _places.job_id limit 1)
    union all
    (
        select 'ready'
        from aiserv.ready as ready
        where ready.queue_key = aiserv._queue_key(_places.model_profile, _places.task_type)
          and ready.priority = _places.priority and ready.owner_key = aiserv._owner_key(_places.owner_service)
          and ready.model_profile = _places.model_profile and ready.task_type = _places.task_type
          and ready.owner_service = _places.owner_service
          and ready.run_at = _places.run_at and ready.job_id = _places.job_id
        limit 1
    )
    union all
    (
        select 'scheduled'
        from aiserv.scheduled as scheduled
        where scheduled.model_profile = _places.model_profile and scheduled.task_type = _places.task_type
          and scheduled.run_at = _places.run_at and scheduled.job_id = _places.job_id
        limit 1
    );
$$;

comment on function aiserv._places is
'Where a job lies: lease, ready, scheduled; nowhere once it is finished. Without a search path of its own, so that the planner can
inline it.';
