create or replace function aiserv._guard_outcome()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
declare
    misplaced uuid;
begin
    select job.id into misplaced
    from moved as job
    where job.outcome is not null
      and exists (
        select from aiserv._places(job.id, job.model_profile, job.task_type, job.priority, job.owner_service, job.run_at)
      )
    limit 1;

    if found then
        raise exception using
            errcode = 'JS409',
            message = format('job %s cannot be finished: it is still pending or running', misplaced),
            hint = 'Use the functions: complete_job, fail_job, cancel_job.';
    end if;
    return null;
end;
$$;

comment on function aiserv._guard_outcome is 'Refuse an outcome for a job that still lies in a place, also by hand.';

create or replace trigger _100_guard_outcome
after update on aiserv.job
referencing new table as moved
for each statement
when (current_setting('aiserv.moving', true) is distinct from 'yes')
execute function aiserv._guard_outcome();
