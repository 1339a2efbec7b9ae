create or replace function aiserv.created_here(job_id uuid)
returns boolean
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    return exists (
        select from aiserv.job as job
        where job.id = created_here.job_id and job.xmin = pg_current_xact_id_if_assigned()::xid
    );
end;
$$;

comment on function aiserv.created_here is
'Whether the running transaction itself stored this job: tells a new job from one that an idempotency key found.';
