create or replace function aiserv._first_due(
    model_profiles text[],
    task_types     text[]
)
returns table (run_at timestamptz)
language sql
stable
as $$
    select min(first.run_at)
    from unnest(_first_due.model_profiles, _first_due.task_types) as queue(model_profile, task_type)
    cross join lateral (
        select scheduled.run_at
        from aiserv.scheduled as scheduled
        where scheduled.model_profile = queue.model_profile and scheduled.task_type = queue.task_type
        order by scheduled.run_at
        limit 1
    ) as first;
$$;

comment on function aiserv._first_due is
'When the first scheduled job of these queues becomes due, in the one row; null for none. Without a search path of its own, so that
the planner can inline it.';
