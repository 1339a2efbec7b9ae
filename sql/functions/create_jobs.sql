create or replace function aiserv.create_jobs(
    jobs            json,
    defaults        json default null,
    batch_id        uuid default null,
    idempotency_key text default null
)
returns setof aiserv.jobs
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
    batch aiserv.batch;
    items aiserv._new_job[];
begin
    if json_typeof(create_jobs.jobs) is distinct from 'array' then
        raise exception using errcode = 'JV400', message = 'jobs: must be an array';
    end if;
    if json_array_length(create_jobs.jobs) not between 1 and 100000 then
        raise exception using errcode = 'JV400', message = 'jobs: must have 1 to 100000 items';
    end if;

    items := aiserv._new_jobs(create_jobs.jobs, create_jobs.defaults);
    perform aiserv._check_new_jobs(items);

    batch := aiserv._reserve_batch(coalesce(create_jobs.batch_id, aiserv.new_id()), items, create_jobs.idempotency_key);
    if batch.job_ids = '{}' then
        batch.job_ids := aiserv._create_jobs(items, batch.id);
        update aiserv.batch as reserved set job_ids = batch.job_ids where reserved.id = batch.id;
    end if;

    return query
    select job.*
    from unnest(batch.job_ids) with ordinality as created(id, position)
    join aiserv.jobs as job on job.id = created.id
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
