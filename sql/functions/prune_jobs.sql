create or replace function aiserv.prune_jobs(
    retention interval default '30 days',
    max_jobs  integer  default 1000,
    actor     text     default null
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
    pruned uuid[] := aiserv._prune_jobs(prune_jobs.retention, prune_jobs.max_jobs);
begin
    perform aiserv._record_action('delete', prune_jobs.actor, pruned);
    return cardinality(pruned);
end;
$$;

comment on function aiserv.prune_jobs is
'Delete up to max_jobs jobs that finished longer than retention ago, with attempts, keys and batches, and ten times as many of
aiserv.actions that are as old, and older than 30 days; 0 keeps them for ever.
Returns how many: call again until it is less than max_jobs. aiserv.actions remembers the actor, who asks for it, and the jobs.
Raises JV400 (a negative argument).';
