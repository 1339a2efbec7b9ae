create or replace view aiserv.attempts as
select
    attempt.job_id,
    attempt.attempt,
    attempt.worker_id,
    attempt.started_at,
    attempt.finished_at,
    attempt.outcome,
    attempt.error_category,
    attempt.error_message
from aiserv.attempt as attempt
union all
select job.id, job.attempt, job.worker_id, job.started_at, job.finished_at, 'completed', null, null
from aiserv.job as job
where job.outcome = 'completed'
union all
select lease.job_id, lease.attempt, lease.worker_id, lease.started_at, null, null, null, null
from aiserv.lease as lease;

comment on view aiserv.attempts is 'Every attempt of every job: how it ended, or that it is running.';
comment on column aiserv.attempts.job_id is 'The job.';
comment on column aiserv.attempts.attempt is 'Its number, from 1.';
comment on column aiserv.attempts.worker_id is 'The worker that had it.';
comment on column aiserv.attempts.started_at is 'When it was claimed.';
comment on column aiserv.attempts.finished_at is 'When it ended; null while it runs.';
comment on column aiserv.attempts.outcome is
'completed, failed, retrying (failed and back to pending), superseded (taken away by retry), released, lease_expired, cancelled; null while it runs.';
comment on column aiserv.attempts.error_category is 'Why it failed, one word.';
comment on column aiserv.attempts.error_message is 'Why it failed, in a sentence; for a cancelled one the reason.';
