create or replace function aiserv._guard_outcome()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
declare
    misplaced uuid;
begin
    -- One by one, or all rows of a table might be read for each (see _complete): the first that is misplaced seems near, and is not there.
    select job.id into misplaced
    from moved as job
    left join lateral (select held.job_id from aiserv.lease as held where held.job_id = job.id limit 1) as lease on true
    left join lateral (
        select waiting.job_id
        from aiserv.ready as waiting
        where waiting.model_profile = job.model_profile and waiting.task_type = job.task_type and waiting.priority = job.priority
          and waiting.owner_service = job.owner_service and waiting.run_at = job.run_at and waiting.job_id = job.id
        limit 1
    ) as ready on true
    left join lateral (
        select later.job_id
        from aiserv.scheduled as later
        where later.model_profile = job.model_profile and later.task_type = job.task_type
          and later.run_at = job.run_at and later.job_id = job.id
        limit 1
    ) as scheduled on true
    where job.outcome is not null and coalesce(lease.job_id, ready.job_id, scheduled.job_id) is not null
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
