create or replace function aiserv.cancel_job(
    job_id uuid,
    reason text default null,
    actor  text default null
)
returns aiserv.jobs
language plpgsql
security definer
set search_path = pg_temp
as $$
declare
    shown aiserv.jobs;
    tries integer := 0;
begin
    loop
        perform aiserv._record_action(
            'cancel', cancel_job.actor, aiserv._cancel(array[cancel_job.job_id], cancel_job.reason), reason => cancel_job.reason
        );
        select job.* into shown from aiserv.jobs as job where job.id = cancel_job.job_id;
        -- Still pending or running: it moved on between two statements, as when a claim was faster.
        tries := tries + 1;
        exit when shown.id is null or shown.status not in ('pending', 'running') or tries = 10;
    end loop;

    if shown.status = 'cancelled' then
        return shown;
    elsif shown.id is null then
        perform aiserv._answer(aiserv._settlement(cancel_job.job_id, null, null, repeated => false));
    elsif shown.status in ('pending', 'running') then
        raise exception using
            errcode = 'serialization_failure',
            message = format('job %s moves on faster than it can be cancelled', shown.id),
            hint = 'Call again.';
    end if;
    raise exception using
        errcode = 'JS409',
        message = format('job %s is %s', shown.id, shown.status),
        detail = 'Only a pending or a running job can be cancelled.',
        hint = 'It is finished: there is nothing to stop.';
end;
$$;

comment on function aiserv.cancel_job is
'Stop a pending or running job for good; reason stands in its error_message. The worker that runs it is told at once and its
result is refused. Cancelling a cancelled job again returns it. aiserv.actions remembers the actor: who asks for it.
Raises JN404 (no such job), JS409 (completed or failed), 40001 (it changed again and again meanwhile).';
