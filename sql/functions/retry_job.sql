create or replace function aiserv.retry_job(
    job_id uuid,
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
        if aiserv._retry(array[retry_job.job_id]) <> '{}' then
            perform aiserv._record_action('retry', retry_job.actor, array[retry_job.job_id]);
            select job.* into shown from aiserv.jobs as job where job.id = retry_job.job_id;
            return shown;
        end if;
        select job.* into shown from aiserv.jobs as job where job.id = retry_job.job_id;
        -- Seen running or failed only now: it moved between two statements.
        tries := tries + 1;
        exit when shown.id is null or shown.status not in ('running', 'failed') or tries = 10;
    end loop;

    if shown.id is null then
        perform aiserv._answer(aiserv._settlement(retry_job.job_id, null, null, repeated => false));
    elsif shown.status in ('running', 'failed') then
        raise exception using
            errcode = 'serialization_failure',
            message = format('job %s moves on faster than it can be retried', shown.id),
            hint = 'Call again.';
    end if;
    raise exception using
        errcode = 'JS409',
        message = format('job %s is %s', shown.id, shown.status),
        detail = 'Only a failed or a running job can be retried.',
        hint = case when shown.status = 'pending' then 'It waits to be claimed already.' else 'Create a new job.' end;
end;
$$;

comment on function aiserv.retry_job is
'Make a failed or running job pending again, due now, with failures, error, result and lost leases cleared. The run of a running
job is fenced out and its worker told. aiserv.actions remembers the actor: who asks for it.
Raises JN404 (no such job), JS409 (pending, completed or cancelled), 40001 (it changed again and again meanwhile).';
