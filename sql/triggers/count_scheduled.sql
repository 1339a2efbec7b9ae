create or replace function aiserv._count_scheduled()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
declare
    sign integer := case tg_op when 'INSERT' then 1 else -1 end;
begin
    insert into aiserv.delta (minute, owner_service, task_type, model_profile, scheduled)
    select
        date_bin('1 minute', clock_timestamp(), 'epoch'), moved.owner_service, moved.task_type, moved.model_profile, sign * count(*)
    from moved
    group by moved.owner_service, moved.task_type, moved.model_profile;
    return null;
end;
$$;

comment on function aiserv._count_scheduled is 'Count the jobs that wait for their run_at.';

create or replace trigger _300_count_added
after insert on aiserv.scheduled
referencing new table as moved
for each statement
execute function aiserv._count_scheduled();

create or replace trigger _300_count_removed
after delete on aiserv.scheduled
referencing old table as moved
for each statement
execute function aiserv._count_scheduled();
