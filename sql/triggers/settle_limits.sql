create or replace function aiserv._settle_limits()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    -- Nobody pays for limits who has none.
    if not exists (select from aiserv.queue_setting) then
        return null;
    end if;

    perform pg_notify('aiserv_ready', freed.model_profile)
    from (
        select distinct gone.model_profile
        from gone
        join aiserv.queue_setting as setting
            on setting.model_profile = gone.model_profile and setting.task_type in ('', gone.task_type)
        where setting.max_running is not null
    ) as freed;

    -- Usage as this attempt reported it replaces the estimate; without a report the estimate stands. In order, as claims lock.
    with spent as materialized (
        select limited.model_profile, limited.task_type, sum(gone.reserved_tokens - (job.usage ->> 'total_tokens')::numeric) as unused
        from gone
        join aiserv.job as job on job.id = any(array[gone.job_id]) and job.attempt = gone.attempt
        join aiserv.queue_setting as limited
            on limited.model_profile = gone.model_profile and limited.task_type in ('', gone.task_type)
        where gone.reserved_tokens is not null
          and limited.tokens_per_minute is not null
          and (job.usage ->> 'total_tokens') ~ '^[0-9]{1,15}$'
        group by limited.model_profile, limited.task_type
    ),
    held as materialized (
        select setting.model_profile, setting.task_type, spent.unused
        from spent
        join aiserv.queue_setting as setting using (model_profile, task_type)
        order by setting.model_profile, setting.task_type
        for update of setting
    )
    update aiserv.queue_setting as setting
    set token_balance = least(setting.token_balance + held.unused, setting.tokens_per_minute)
    from held
    where setting.model_profile = held.model_profile and setting.task_type = held.task_type;
    return null;
end;
$$;

comment on function aiserv._settle_limits is
'When jobs stop running: tell workers of slots that became free in limited queues, and correct their token balance.';

create or replace trigger _300_settle_limits
after delete on aiserv.lease
referencing old table as gone
for each statement
execute function aiserv._settle_limits();
