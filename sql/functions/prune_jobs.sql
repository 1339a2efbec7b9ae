create or replace function aiserv.prune_jobs(
    retention interval default '30 days',
    max_jobs  integer  default 1000
)
returns integer
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
    cutoff timestamptz := clock_timestamp() - prune_jobs.retention;
    pruned integer     := 0;
    kept   jsonb;
    old    uuid[];
    pages  bigint;
begin
    if prune_jobs.retention < interval '0' or prune_jobs.max_jobs < 0 then
        raise exception using errcode = 'JV400', message = 'retention and max_jobs: must not be negative';
    end if;

    if prune_jobs.retention > interval '0' then
        -- Ids sort by time: what is old lies at the start of the key, and the live set is never walked.
        kept := aiserv._cursor('aiserv.prune_cursor');
        pages := aiserv._pages('aiserv.job', 'aiserv.job_pkey');
        old := array(
            select job.id
            from aiserv.job as job
            where job.id > coalesce((kept ->> 'id')::uuid, aiserv._lowest_id('epoch'))
              and job.id < aiserv._lowest_id(cutoff)
              and job.finished_at < cutoff
            order by job.id
            limit prune_jobs.max_jobs
        );
        pages := aiserv._pages('aiserv.job', 'aiserv.job_pkey') - pages;
        -- A long transaction elsewhere keeps the rows of those deleted, and a look from the head walks over them.
        if old <> '{}' and (kept is not null or pages > 8 * cardinality(old) + 100) then
            perform aiserv._keep_cursor('aiserv.prune_cursor', kept, jsonb_build_object('id', old[cardinality(old)]));
        end if;
        pruned := cardinality(aiserv._delete_jobs(old));

        if pruned > 0 then
            delete from aiserv.tally as tally
            where tally.minute > '-infinity' and tally.minute < cutoff
              and tally.completed = 0 and tally.failed = 0 and tally.cancelled = 0;
        end if;

        if cardinality(old) < prune_jobs.max_jobs then
            perform aiserv._prune_batches(cutoff, prune_jobs.max_jobs);
        end if;
        -- Several for each job: it may have been retried often.
        perform aiserv._prune_actions(cutoff, 10 * prune_jobs.max_jobs);
    end if;
    return pruned;
end;
$$;

comment on function aiserv.prune_jobs is
'Delete up to max_jobs jobs that finished longer than retention ago, with attempts, keys and batches, and ten times as many of
aiserv.actions that are as old, and older than 30 days; 0 keeps them for ever.
Returns how many: call again until it is less than max_jobs. Raises JV400 (a negative argument).';
