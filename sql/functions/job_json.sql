create or replace function aiserv.job_json(
    job     aiserv.jobs,
    summary boolean default false
)
returns json
language sql
stable
as $$
    -- Times by time_text: row_to_json of a timestamp follows the connection's time zone.
    select case
        when job_json.summary then row_to_json(
            row(
                job.id, job.owner_service, job.owner_ref, job.task_type, job.model_profile, job.status, job.priority,
                job.metadata, job.usage, job.error_category, job.error_message, job.attempt, job.failures,
                job.max_attempts, job.worker_id, job.idempotency_key, job.batch_id, job.traceparent,
                aiserv.time_text(job.run_at), aiserv.time_text(job.lease_expires_at), job.timeout_seconds,
                aiserv.time_text(job.created_at), aiserv.time_text(job.updated_at), aiserv.time_text(job.started_at),
                aiserv.time_text(job.finished_at)
            )::aiserv._shown_summary
        )
        else row_to_json(
            row(
                job.id, job.owner_service, job.owner_ref, job.task_type, job.model_profile, job.status, job.priority,
                job.input, job.result, job.progress, job.metadata, job.usage, job.error_category, job.error_message,
                job.attempt, job.failures, job.max_attempts, job.worker_id, job.idempotency_key, job.batch_id,
                job.traceparent, aiserv.time_text(job.run_at), aiserv.time_text(job.lease_expires_at),
                job.timeout_seconds, aiserv.time_text(job.created_at), aiserv.time_text(job.updated_at),
                aiserv.time_text(job.started_at), aiserv.time_text(job.finished_at)
            )::aiserv._shown_job
        )
    end;
$$;

comment on function aiserv.job_json is
'The job as the HTTP API shows it: payloads character for character, times in UTC with microseconds.
summary leaves out input, result and progress. Without a search path of its own, so that the planner can inline it.
Try: select aiserv.job_json(job) from aiserv.jobs as job.';
