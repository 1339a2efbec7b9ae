create or replace function aiserv._count_unsuccessful()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
declare
    sign integer := case tg_op when 'INSERT' then 1 else -1 end;
begin
    insert into aiserv.delta (minute, owner_service, task_type, model_profile, error_category, failed, cancelled)
    select
        date_bin('1 minute', moved.finished_at, 'epoch'), moved.owner_service, moved.task_type, moved.model_profile,
        coalesce(moved.error_category, ''), sign * count(*) filter (where moved.outcome = 'failed'),
        sign * count(*) filter (where moved.outcome = 'cancelled')
    from moved
    group by 1, moved.owner_service, moved.task_type, moved.model_profile, coalesce(moved.error_category, '');
    return null;
end;
$$;

comment on function aiserv._count_unsuccessful is
'Count failed and cancelled jobs, and those that stop being so by a retry or a prune.';

create or replace trigger _300_count_added
after insert on aiserv.unsuccessful
referencing new table as moved
for each statement
execute function aiserv._count_unsuccessful();

create or replace trigger _300_count_removed
after delete on aiserv.unsuccessful
referencing old table as moved
for each statement
execute function aiserv._count_unsuccessful();
