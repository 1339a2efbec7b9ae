create or replace function aiserv.delete_jobs(
    model_profile text,
    max_jobs      integer default 1000,
    actor         text    default null
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
    chosen  uuid[];
    deleted uuid[];
begin
    if delete_jobs.max_jobs is null or delete_jobs.max_jobs < 0 then
        raise exception using errcode = 'JV400', message = 'max_jobs: must not be negative';
    end if;

    chosen := array(
        select job.id
        from aiserv.job as job
        where job.model_profile = delete_jobs.model_profile and job.outcome is not null
        order by job.model_profile, job.task_type, job.id
        limit delete_jobs.max_jobs
    );
    deleted := aiserv._delete_jobs(chosen);
    perform aiserv._record_action('delete', delete_jobs.actor, deleted, delete_jobs.model_profile);
    if cardinality(chosen) < delete_jobs.max_jobs then
        perform aiserv._prune_batches(clock_timestamp(), delete_jobs.max_jobs);
    end if;
    return cardinality(deleted);
end;
$$;

comment on function aiserv.delete_jobs is
'Delete up to max_jobs finished jobs of a model profile, however old, with attempts and keys, and batches that have no job left.
Returns how many: call again until it is 0. Jobs that are not finished stay: cancel_jobs first.
aiserv.actions remembers the actor: who asks for it. Raises JV400 (a negative max_jobs).';
