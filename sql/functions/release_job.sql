create or replace function aiserv.release_job(
    job_id    uuid,
    attempt   integer  default null,
    worker_id text     default null,
    delay     interval default null,
    category  text     default null,
    message   text     default null,
    patience  interval default null
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
    answer aiserv.settlement;
    held   aiserv.lease;
begin
    if not (release_job.delay between interval '0' and interval '366 days') then
        raise exception using errcode = 'JV400', message = 'delay: must be from 0 to 366 days';
    end if;
    if release_job.category is not null then
        perform aiserv._check_failure(release_job.category, coalesce(release_job.message, ''), null, null);
    end if;

    -- Whoever holds it may fail it, too. Patience only runs out: that it has cannot change any more.
    if release_job.category is not null and exists (
        select
        from aiserv.lease as lease
        join aiserv.job as job on job.id = lease.job_id
        where lease.job_id = release_job.job_id
          and coalesce(job.first_claim_at, lease.started_at) + release_job.patience <= clock_timestamp()
    ) and aiserv._fail(
        release_job.job_id, release_job.category, coalesce(release_job.message, ''), release_job.attempt, release_job.worker_id,
        false, null, null
    ) then
        answer.id := release_job.job_id;
        return aiserv._answer(answer);
    end if;

    -- The lease row is the right to give the job back.
    delete from aiserv.lease as lease
    where lease.job_id = release_job.job_id
      and lease.attempt = coalesce(release_job.attempt, lease.attempt)
      and lease.worker_id = coalesce(release_job.worker_id, lease.worker_id)
    returning lease.* into held;

    if found then
        perform aiserv._requeue(
            array[held], 'released', nullif(release_job.delay, interval '0'), release_job.category,
            case when release_job.category is not null then release_job.message end
        );
        answer.id := release_job.job_id;
    else
        answer := aiserv._settlement(
            release_job.job_id, release_job.attempt, release_job.worker_id,
            repeated => exists (
                select
                from aiserv.jobs as job
                join aiserv.attempt as attempt on attempt.job_id = job.id and attempt.attempt = job.attempt
                where job.id = release_job.job_id
                  and (
                    job.status = 'pending' and attempt.outcome = 'released'
                    -- Or the patience was over, the first time.
                    or job.status = 'failed' and attempt.outcome = 'failed' and attempt.error_category = release_job.category
                )
                  and attempt.attempt = coalesce(release_job.attempt, attempt.attempt)
            )
        );
    end if;
    return aiserv._answer(answer);
end;
$$;

comment on function aiserv.release_job is
'Give a running job back unharmed: pending again, at once in its old place or after delay; failures stay as they are.
With a category and a message, which are seen while it waits, its provider was in trouble (report_provider says so of the provider):
it goes behind the others that are due, and once patience is over since its first claim, it fails with them instead.
A repeat by the same attempt returns the job unchanged.
Raises JN404 (no such job), JL409 (attempt or worker no longer holds it), JS409 (it is not running), JV400 (delay out of range,
malformed words).';
