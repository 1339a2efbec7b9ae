create or replace function aiserv.create_job(
    owner_service   text,
    task_type       text,
    model_profile   text,
    input           json             default '{}',
    owner_ref       text             default '',
    priority        integer          default 0,
    run_at          timestamptz      default null,
    delay           interval         default null,
    max_attempts    integer          default 3,
    timeout_seconds double precision default null,
    metadata        json             default '{}',
    idempotency_key text             default null,
    traceparent     text             default null
)
returns aiserv.jobs
language plpgsql
security definer
set search_path = ''
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    item    aiserv._new_job;
    job_ids uuid[];
    created aiserv.jobs;
begin
    item := (
        create_job.owner_service, create_job.owner_ref, create_job.task_type, create_job.model_profile, create_job.input,
        create_job.priority, create_job.run_at, create_job.delay, create_job.max_attempts, create_job.timeout_seconds,
        create_job.metadata, create_job.idempotency_key, create_job.traceparent
    );
    perform aiserv._check_new_jobs(array[item]);
    loop
        job_ids := aiserv._create_jobs(array[item]);
        select job.* into created from aiserv.jobs as job where job.id = job_ids[1];
        -- Unless its key made a job that has been deleted since: now the key is free.
        exit when found;
    end loop;
    return created;
end;
$$;

comment on function aiserv.create_job is
'Store a job, pending until a worker claims it: at once, at run_at, or after delay.
With an idempotency_key that made a job of this owner_service before, that job is returned as it is now.
Raises JV400 (an argument makes no sense), JK422 (the key was used for another body), JQ429 (aiserv.max_pending or
aiserv.max_pending_per_owner is set, and so many jobs wait).
Try: select aiserv.create_job(owner_service => ''me'', task_type => ''llm_chat'', model_profile => ''qwen2.5-14b'', input => ''{"user": "Hello"}'').';
