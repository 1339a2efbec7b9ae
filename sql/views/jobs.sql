create or replace view aiserv.jobs as
select
    job.id,
    job.owner_service,
    job.owner_ref,
    job.task_type,
    job.model_profile,
    case
        when job.outcome is not null then job.outcome
        when lease.job_id is not null then 'running'
        else 'pending'
    end as status,
    job.priority,
    job.input,
    job.result,
    lease.progress,
    job.metadata,
    job.usage,
    job.error_category,
    job.error_message,
    coalesce(lease.attempt, job.attempt) as attempt,
    job.failures,
    job.max_attempts,
    coalesce(lease.worker_id, job.worker_id) as worker_id,
    job.idempotency_key,
    job.batch_id,
    job.traceparent,
    job.run_at,
    lease.lease_expires_at,
    job.timeout_seconds,
    job.created_at,
    coalesce(lease.updated_at, job.updated_at) as updated_at,
    coalesce(lease.started_at, job.started_at) as started_at,
    job.finished_at
from aiserv.job as job
left join aiserv.lease as lease on lease.job_id = job.id;

comment on view aiserv.jobs is
'All jobs, each with its status: pending, running, completed, failed or cancelled. The row type of every function that returns jobs.';
comment on column aiserv.jobs.id is 'UUIDv7: sorts by time of creation.';
comment on column aiserv.jobs.owner_service is 'The calling service.';
comment on column aiserv.jobs.owner_ref is 'The caller''s stable reference, free text.';
comment on column aiserv.jobs.task_type is 'What kind of work it is, in the caller''s words.';
comment on column aiserv.jobs.model_profile is 'Which model is to do it, in the caller''s words.';
comment on column aiserv.jobs.status is 'pending, running, completed, failed or cancelled.';
comment on column aiserv.jobs.priority is '-100 to 100; higher is claimed first.';
comment on column aiserv.jobs.input is 'The caller''s JSON, kept character for character.';
comment on column aiserv.jobs.result is 'The worker''s JSON, kept character for character; null until completed.';
comment on column aiserv.jobs.progress is 'What the worker last reported for the running attempt; null unless running.';
comment on column aiserv.jobs.metadata is 'An object of the caller''s that the service never reads.';
comment on column aiserv.jobs.usage is 'Tokens as the worker reported them: prompt_tokens, completion_tokens, total_tokens.';
comment on column aiserv.jobs.error_category is 'Why it failed, one word; also while it waits for its next attempt.';
comment on column aiserv.jobs.error_message is 'Why it failed, in a sentence; for a cancelled job the reason given.';
comment on column aiserv.jobs.attempt is 'How often it was claimed: the fencing token of the run that holds it.';
comment on column aiserv.jobs.failures is 'How many attempts ended in a retryable failure since it was created or retried.';
comment on column aiserv.jobs.max_attempts is 'How many such failures it may have.';
comment on column aiserv.jobs.worker_id is 'The worker that holds it or finished it.';
comment on column aiserv.jobs.idempotency_key is 'The caller''s key against creating it twice.';
comment on column aiserv.jobs.batch_id is 'The batch it was created in.';
comment on column aiserv.jobs.traceparent is 'The W3C trace context of its creation.';
comment on column aiserv.jobs.run_at is 'It is not claimable before.';
comment on column aiserv.jobs.lease_expires_at is 'Until when the running attempt holds it without a heartbeat.';
comment on column aiserv.jobs.timeout_seconds is 'The limit for one attempt; null is the worker''s default.';
comment on column aiserv.jobs.created_at is 'When it was created.';
comment on column aiserv.jobs.updated_at is 'When its last transition or heartbeat was.';
comment on column aiserv.jobs.started_at is 'When it was last claimed.';
comment on column aiserv.jobs.finished_at is 'When it reached its final state.';
