create or replace function aiserv.prune_jobs(
    retention interval default '30 days',
    max_jobs  integer  default 1000
)
returns integer
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
    cutoff timestamptz := clock_timestamp() - prune_jobs.retention;
    pruned integer := 0;
begin
    if prune_jobs.retention < interval '0' or prune_jobs.max_jobs < 0 then
        raise exception using errcode = 'JV400', message = 'retention and max_jobs: must not be negative';
    end if;

    if prune_jobs.retention > interval '0' then
        -- Ids sort by time: what is old lies at the start of the key, and the live set is never walked.
        with old as materialized (
            select job.id, job.outcome
            from aiserv.job as job
            where job.id < aiserv._lowest_id(cutoff) and job.finished_at < cutoff
            order by job.id
            limit prune_jobs.max_jobs
        ),
        -- A retry holds this row before it touches the job's; so does a prune, and leaves alone what is held.
        listed as materialized (
            select unsuccessful.job_id
            from old
            join aiserv.unsuccessful as unsuccessful on unsuccessful.job_id = old.id
            order by unsuccessful.job_id
            for update of unsuccessful skip locked
        ),
        unlisted as (
            delete from aiserv.unsuccessful as unsuccessful using listed where unsuccessful.job_id = listed.job_id
        ),
        held as materialized (
            select job.id
            from old
            join aiserv.job as job on job.id = old.id
            where old.outcome = 'completed' or old.id in (select listed.job_id from listed)
            order by job.id
            for update of job skip locked
        ),
        gone as (
            delete from aiserv.job as job using held where job.id = held.id returning job.id, job.owner_service, job.idempotency_key
        ),
        forgotten as (
            delete from aiserv.idempotency as known
            using gone
            where known.owner_service = gone.owner_service and known.idempotency_key = gone.idempotency_key
        ),
        history as (
            delete from aiserv.attempt as attempt using gone where attempt.job_id = gone.id
        )
        select count(*) into pruned from gone;

        if pruned > 0 then
            delete from aiserv.tally as tally
            where tally.minute > '-infinity' and tally.minute < cutoff
              and tally.completed = 0 and tally.failed = 0 and tally.cancelled = 0;
        end if;

        perform aiserv._prune_batches(cutoff, prune_jobs.max_jobs);
    end if;
    return pruned;
end;
$$;

comment on function aiserv.prune_jobs is
'Delete up to max_jobs jobs that finished longer than retention ago, with attempts, keys and batches; 0 keeps them for ever.
Returns how many: call again until it is less than max_jobs. Raises JV400 (a negative argument).';
