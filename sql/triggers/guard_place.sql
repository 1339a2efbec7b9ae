create or replace function aiserv._guard_place()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
declare
    misplaced uuid;
begin
    -- One by one, or all rows of a table might be read for each (see _complete): the first that is misplaced seems near, and is not there.
    select moved.job_id into misplaced
    from moved
    left join lateral (select known.* from aiserv.job as known where known.id = moved.job_id limit 1) as job on true
    left join lateral (select held.job_id from aiserv.lease as held where held.job_id = moved.job_id limit 1) as lease on true
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
