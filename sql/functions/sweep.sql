create or replace function aiserv.sweep(retention interval default '30 days')
returns timestamptz
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
    asked  record;
    folded bigint;
    next   timestamptz;
begin
    perform aiserv._follow_clock();
    perform aiserv.recover_jobs();
    asked := aiserv._queues(null, null);
    perform aiserv._promote(asked.profiles, asked.kinds);
    folded := aiserv._fold();
    -- A full piece means there is more: come again at once.
    if cardinality(aiserv._prune_jobs(sweep.retention, 1000)) >= 1000 or folded >= 100000 then
        return clock_timestamp();
    end if;
    next := aiserv.next_wake();
    -- While much is counted, fold often: what is not folded yet costs those who ask for the numbers.
    return case when folded >= 1000 then least(next, clock_timestamp() + interval '1 second') else next end;
end;
$$;

comment on function aiserv.sweep is
'What a server does every half a minute and when next_wake says: follow a clock that was set back, recover expired leases, make
scheduled jobs ready that are due, fold the counters, prune what is older than retention (0 keeps all). Returns when to come again
at the latest, or null. Any number may run at once.';
