create or replace function aiserv._prune_jobs(
    retention interval,
    max_jobs  integer
)
returns uuid[]
language plpgsql
set search_path = pg_temp
as $$
declare
    cutoff timestamptz := clock_timestamp() - _prune_jobs.retention;
    pruned uuid[]      := array[]::uuid[];
    kept   jsonb;
    old    uuid[];
    pages  bigint;
begin
    if _prune_jobs.retention < interval '0' or _prune_jobs.max_jobs < 0 then
        raise exception using errcode = 'JV400', message = 'retention and max_jobs: must not be negative';
    end if;

    if _prune_jobs.retention > interval '0' then
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
            limit _prune_jobs.max_jobs
        );
        pages := aiserv._pages('aiserv.job', 'aiserv.job_pkey') - pages;
        -- A long transaction elsewhere keeps the rows of those deleted, and a look from the head walks over them.
        if old <> '{}' and (kept is not null or pages > 8 * cardinality(old) + 100) then
            perform aiserv._keep_cursor('aiserv.prune_cursor', kept, jsonb_build_object('id', old[cardinality(old)]));
        end if;
        pruned := aiserv._delete_jobs(old);

        if pruned <> '{}' then
            delete from aiserv.tally as tally
            where tally.minute > '-infinity' and tally.minute < cutoff
              and tally.completed = 0 and tally.failed = 0 and tally.cancelled = 0;
        end if;

        if cardinality(old) < _prune_jobs.max_jobs then
            perform aiserv._prune_batches(cutoff, _prune_jobs.max_jobs);
        end if;
        -- Several for each job: it may have been retried often.
        perform aiserv._prune_actions(cutoff, 10 * _prune_jobs.max_jobs);
    end if;
    return pruned;
end;
$$;

comment on function aiserv._prune_jobs is
'Delete what prune_jobs says, and return the ids of the jobs; of aiserv.actions it takes rows away and adds none: servers do this all
day.';
