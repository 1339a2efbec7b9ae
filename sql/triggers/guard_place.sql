create or replace function aiserv._guard_place()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
declare
    misplaced uuid;
begin
    -- Joined by whole keys: an `exists` for each may be answered by hashing a whole table.
    select moved.job_id into misplaced
    from moved
    left join aiserv.job as job on job.id between moved.job_id and moved.job_id  -- see _complete
    -- One by one, or all leases might be read for each: see _complete.
    left join lateral (select held.job_id from aiserv.lease as held where held.job_id = moved.job_id limit 1) as lease on true
    left join aiserv.ready as ready
        on ready.model_profile = job.model_profile and ready.task_type = job.task_type and ready.priority = job.priority
        and ready.owner_service = job.owner_service and ready.run_at = job.run_at and ready.job_id = job.id
    left join aiserv.scheduled as scheduled
        on scheduled.model_profile = job.model_profile and scheduled.task_type = job.task_type
        and scheduled.run_at = job.run_at and scheduled.job_id = job.id
    where job.id is null
       or job.outcome is not null
       or (lease.job_id is not null)::integer + (ready.job_id is not null)::integer + (scheduled.job_id is not null)::integer <> 1
    limit 1;

    if found then
        raise exception using
            errcode = 'JS409',
            message = format('job %s cannot be put into aiserv.%s', misplaced, tg_table_name),
            detail = 'It does not exist, is finished, or lies in another place: a job is in one place at a time.',
            hint = 'Use the functions: claim_jobs, release_job, retry_job.';
    end if;
    return null;
end;
$$;

comment on function aiserv._guard_place is 'Refuse a second place for a job, or one for a finished job, also by hand.';

create or replace trigger _100_guard_place
after insert on aiserv.ready
referencing new table as moved
for each statement
when (current_setting('aiserv.creating', true) is distinct from 'yes')
execute function aiserv._guard_place();

create or replace trigger _100_guard_place
after insert on aiserv.scheduled
referencing new table as moved
for each statement
when (current_setting('aiserv.creating', true) is distinct from 'yes')
execute function aiserv._guard_place();

create or replace trigger _100_guard_place
after insert on aiserv.lease
referencing new table as moved
for each statement
when (current_setting('aiserv.moving', true) is distinct from 'yes')
execute function aiserv._guard_place();
