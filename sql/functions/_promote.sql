create or replace function aiserv._promote(
    model_profiles text[],
    task_types     text[]
)
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    moment timestamptz := clock_timestamp();
begin
    with due as (
        select spot.place
        from unnest(_promote.model_profiles, _promote.task_types) as queue(model_profile, task_type)
        cross join lateral (
            select scheduled.ctid as place
            from aiserv.scheduled as scheduled
            where scheduled.model_profile = queue.model_profile
              and scheduled.task_type = queue.task_type
              and scheduled.run_at <= moment
            order by scheduled.run_at, scheduled.job_id
            -- Bounded, so that a million jobs of one moment do not all move in one claim.
            limit 1000
            for update skip locked
        ) as spot
    ),
    moved as (
        delete from aiserv.scheduled as scheduled
        using due
        where scheduled.ctid = due.place
        returning scheduled.*
    )
    insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
    select
        moved.model_profile, moved.task_type, moved.priority, moved.owner_service, moved.run_at, moved.job_id,
        moved.input_bytes
    from moved;
end;
$$;

comment on function aiserv._promote is 'Move scheduled jobs of these queues that have become due to aiserv.ready.';
