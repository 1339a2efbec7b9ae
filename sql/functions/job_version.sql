create or replace function aiserv.job_version(job aiserv.jobs)
returns text
language sql
stable
as $$
    select left(job.status, 2) || '-' || job.attempt || '-' || (extract(epoch from job.updated_at) * 1000000)::bigint;
$$;

comment on function aiserv.job_version is
'What tells one state of a job from another: the ETag of the HTTP API. Every transition and heartbeat makes a new one.
Without a search path of its own, so that the planner can inline it.';
