create or replace function aiserv.next_wake(
    task_types     text[] default null,
    model_profiles text[] default null,
    queues         jsonb  default null
)
returns timestamptz
language plpgsql
volatile
security definer
set search_path = pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    asked record := aiserv._queues(next_wake.task_types, next_wake.model_profiles, next_wake.queues);
begin
    return aiserv._next_wake(asked.profiles, asked.kinds);
end;
$$;

comment on function aiserv.next_wake is
'When a claim for these queues should be tried next though nobody calls: a job becomes due, a lease runs out, a pause or a rate
limit ends, a provider in trouble may be probed. Null is never; a time in the past is now.';
