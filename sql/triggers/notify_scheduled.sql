create or replace function aiserv._notify_scheduled()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    perform pg_notify('aiserv_scheduled', earlier.model_profile)
    from (
        select distinct first.model_profile
        from (
            select moved.model_profile, moved.task_type, min(moved.run_at) as run_at
            from moved
            group by moved.model_profile, moved.task_type
        ) as first
        -- Others that are due no later have been announced when they came. Not relied on for what is due before the
        -- next regular look: by the time this commits, they may be gone.
        where first.run_at < clock_timestamp() + interval '45 seconds'
           or not exists (
            select
            from aiserv.scheduled as known
            where known.model_profile = first.model_profile
              and known.task_type = first.task_type
              and known.run_at < first.run_at
        )
    ) as earlier;
    return null;
end;
$$;

comment on function aiserv._notify_scheduled is 'Tell workers when the earliest wake-up of a queue may have moved forward.';

create or replace trigger _200_notify_scheduled
after insert on aiserv.scheduled
referencing new table as moved
for each statement
execute function aiserv._notify_scheduled();
