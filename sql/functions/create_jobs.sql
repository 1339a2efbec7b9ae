create or replace function aiserv.create_jobs(
    jobs            json,
    defaults        json default null,
    batch_id        uuid default null,
    idempotency_key text default null
)
returns setof aiserv.jobs
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
    job_ids uuid[] := aiserv.create_batch(
        create_jobs.jobs, create_jobs.defaults, create_jobs.batch_id, create_jobs.idempotency_key
    );
begin
    return query
    select job.*
    from unnest(job_ids) with ordinality as created(id, position)
    cross join lateral (select shown.* from aiserv.jobs as shown where shown.id = created.id limit 1) as job
    order by created.position;
end;
$$;

comment on function aiserv.create_jobs is
'Store many jobs in one transaction, all or none, and return them in input order. jobs is a JSON array of objects with the
parameters of create_job; defaults is such an object too, for what the items share, and its input merges with theirs.
New jobs carry the batch_id; a job that an idempotency key found keeps its own and counts in the batch all the same.
idempotency_key makes the whole call repeatable: the same jobs again are stored once, and a repeat returns those of the first
time as they are now, less those that were pruned since. batch_with_key says which batch that is.
Raises JV400 (naming the item and the field), JK422 (a key was used for another body), JQ429 (aiserv.max_pending or
aiserv.max_pending_per_owner is set, and so many jobs wait).';
