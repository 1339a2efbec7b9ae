create or replace function aiserv._guard_outcome()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
declare
    misplaced uuid;
begin
    -- Joined by whole keys: an `exists` for each may be answered by hashing a whole table.
    select job.id into misplaced
    from moved as job
    -- One by one, or all leases might be read for each: see _complete.
    left join lateral (select held.job_id from aiserv.lease as held where held.job_id = job.id limit 1) as lease on true
    left join aiserv.ready as ready
        on ready.model_profile = job.model_profile and ready.task_type = job.task_type and ready.priority = job.priority
        and ready.owner_service = job.owner_service and ready.run_at = job.run_at and ready.job_id = job.id
    left join aiserv.scheduled as scheduled
        on scheduled.model_profile = job.model_profile and scheduled.task_type = job.task_type
        and scheduled.run_at = job.run_at and scheduled.job_id = job.id
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
