create or replace function aiserv.job_json(
    job     aiserv.jobs,
    summary boolean default false
)
returns json
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    rendered json;
begin
    if job_json.summary then
        job.input := null;
        job.result := null;
        job.progress := null;
    end if;

    -- Times by time_text: row_to_json of a timestamp follows the connection's time zone.
    select row_to_json(shown) into rendered
    from (
        select
            job.id,
            job.owner_service,
            job.owner_ref,
            job.task_type,
            job.model_profile,
            job.status,
            job.priority,
            job.input,
            job.result,
            job.progress,
            job.metadata,
            job.usage,
            job.error_category,
            job.error_message,
            job.attempt,
            job.failures,
            job.max_attempts,
            job.worker_id,
            job.idempotency_key,
            job.batch_id,
            job.traceparent,
            aiserv.time_text(job.run_at) as run_at,
            aiserv.time_text(job.lease_expires_at) as lease_expires_at,
            job.timeout_seconds,
            aiserv.time_text(job.created_at) as created_at,
            aiserv.time_text(job.updated_at) as updated_at,
            aiserv.time_text(job.started_at) as started_at,
            aiserv.time_text(job.finished_at) as finished_at
    ) as shown;

    if job_json.summary then
        select json_object_agg(field.key, field.value) into rendered
        from json_each(rendered) as field
        where field.key not in ('input', 'result', 'progress');
    end if;
    return rendered;
end;
$$;

comment on function aiserv.job_json is
'The job as the HTTP API shows it: payloads character for character, times in UTC with microseconds.
summary leaves out input, result and progress. Try: select aiserv.job_json(job) from aiserv.jobs as job.';
