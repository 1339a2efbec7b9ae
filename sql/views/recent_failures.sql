create or replace view aiserv.recent_failures as
select
    job.id,
    job.owner_service,
    job.owner_ref,
    job.task_type,
    job.model_profile,
    job.error_category,
    job.error_message,
    job.attempt,
    job.failures,
    job.worker_id,
    job.created_at,
    job.finished_at
from aiserv.unsuccessful as unsuccessful
join aiserv.job as job on job.id = unsuccessful.job_id
where unsuccessful.outcome = 'failed' and unsuccessful.finished_at > clock_timestamp() - interval '1 day'
order by unsuccessful.finished_at desc;

comment on view aiserv.recent_failures is 'The jobs that failed in the last day, the latest first; aiserv.jobs has the rest of them.';
comment on column aiserv.recent_failures.id is 'The job.';
comment on column aiserv.recent_failures.owner_service is 'The calling service.';
comment on column aiserv.recent_failures.owner_ref is 'The caller''s stable reference.';
comment on column aiserv.recent_failures.task_type is 'What kind of work it was.';
comment on column aiserv.recent_failures.model_profile is 'Which model was to do it.';
comment on column aiserv.recent_failures.error_category is 'Why it failed, one word.';
comment on column aiserv.recent_failures.error_message is 'Why it failed, in a sentence.';
comment on column aiserv.recent_failures.attempt is 'How often it was claimed.';
comment on column aiserv.recent_failures.failures is 'How many attempts ended in a retryable failure.';
comment on column aiserv.recent_failures.worker_id is 'The worker that had it last.';
comment on column aiserv.recent_failures.created_at is 'When it was created.';
comment on column aiserv.recent_failures.finished_at is 'When it failed.';
