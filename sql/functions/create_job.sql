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
set search_path = pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    item      aiserv._new_job;
    made      record;
    complaint text;
begin
    item := (
        create_job.owner_service, create_job.owner_ref, create_job.task_type, create_job.model_profile, create_job.input,
        create_job.priority, create_job.run_at, create_job.delay, create_job.max_attempts, create_job.timeout_seconds,
        create_job.metadata, create_job.idempotency_key, create_job.traceparent
    );
    begin
        -- Not the default: what is given as null is no such thing.
        if num_nulls(item.owner_ref, item.input, item.priority, item.max_attempts, item.metadata) > 0
            or json_typeof(item.metadata) <> 'object' then
            raise data_exception;
        end if;
        made := aiserv._store_jobs(
            json_build_array(item), has_keys => item.idempotency_key is not null,
            plain => json_typeof(item.input) not in ('string', 'null')
        );
        return made.created[1];
    exception
        when data_exception or not_null_violation then
            complaint := aiserv._complaint(item);
            if complaint is null then
                raise;
            end if;
            raise exception using errcode = 'JV400', message = complaint;
    end;
end;
$$;

comment on function aiserv.create_job is
'Store a job, pending until a worker claims it: at once, at run_at, or after delay.
With an idempotency_key that made a job of this owner_service before, that job is returned as it is now.
Raises JV400 (an argument makes no sense), JK422 (the key was used for another body), JQ429 (aiserv.max_pending or
aiserv.max_pending_per_owner is set, and so many jobs wait).
Try: select aiserv.create_job(owner_service => ''me'', task_type => ''llm_chat'', model_profile => ''qwen2.5-14b'', input => ''{"user": "Hello"}'').';
