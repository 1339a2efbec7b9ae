create or replace function aiserv._count_jobs()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    if tg_op = 'UPDATE' then
        insert into aiserv.delta (minute, owner_service, task_type, model_profile, completed)
        select date_bin('1 minute', moved.finished_at, 'epoch'), moved.owner_service, moved.task_type, moved.model_profile, count(*)
        from moved
        where moved.outcome = 'completed'
        group by 1, moved.owner_service, moved.task_type, moved.model_profile;
    else
        insert into aiserv.delta (minute, owner_service, task_type, model_profile, total, completed)
        select
            date_bin('1 minute', moved.finished_at, 'epoch'), moved.owner_service, moved.task_type, moved.model_profile, -count(*),
            -count(*) filter (where moved.outcome = 'completed')
        from moved
        group by 1, moved.owner_service, moved.task_type, moved.model_profile;
    end if;
    return null;
end;
$$;

comment on function aiserv._count_jobs is
'Count jobs completed and deleted; _store_jobs counts those created. No update of a completed job is legal, so each completes
once.';

create or replace trigger _300_count_completed
after update on aiserv.job
referencing new table as moved
for each statement
execute function aiserv._count_jobs();

create or replace trigger _300_count_deleted
after delete on aiserv.job
referencing old table as moved
for each statement
execute function aiserv._count_jobs();
