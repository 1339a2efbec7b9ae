create or replace view aiserv.recent_failures as
select job.*
from aiserv.unsuccessful as unsuccessful
join aiserv.jobs as job on job.id = unsuccessful.job_id
where unsuccessful.outcome = 'failed' and unsuccessful.finished_at > clock_timestamp() - interval '1 day'
order by unsuccessful.finished_at desc;

comment on view aiserv.recent_failures is 'The jobs that failed in the last day, the latest first.';
