create or replace function aiserv._guard_place()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
declare
    misplaced uuid;
begin
    select moved.job_id into misplaced
    from moved
    -- One by one: the first that is misplaced seems near, and is not there, so that all jobs might be read for each.
    left join lateral (select known.* from aiserv.job as known where known.id = moved.job_id limit 1) as job on true
    where job.id is null
       or job.outcome is not null
       or (
        select count(*)
        from aiserv._places(job.id, job.model_profile, job.task_type, job.priority, job.owner_service, job.run_at)
       ) <> 1
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
