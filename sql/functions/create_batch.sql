create or replace function aiserv.create_batch(
    jobs            json,
    defaults        json default null,
    batch_id        uuid default null,
    idempotency_key text default null
)
returns uuid[]
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
    if json_typeof(create_batch.jobs) is distinct from 'array' then
        raise exception using errcode = 'JV400', message = 'jobs: must be an array';
    end if;
    if json_array_length(create_batch.jobs) not between 1 and 100000 then
        raise exception using errcode = 'JV400', message = 'jobs: must have 1 to 100000 items';
    end if;

    items := aiserv._new_jobs(create_batch.jobs, create_batch.defaults);
    perform aiserv._check_new_jobs(items);

    batch := aiserv._reserve_batch(coalesce(create_batch.batch_id, aiserv.new_id()), items, create_batch.idempotency_key);
    if batch.job_ids = '{}' then
        batch.job_ids := aiserv._create_jobs(items, batch.id);
        update aiserv.batch as reserved set job_ids = batch.job_ids where reserved.id = batch.id;
    end if;

    return batch.job_ids;
end;
$$;

comment on function aiserv.create_batch is
'Store many jobs as create_jobs does, and return only their ids, in input order: nothing is read again.
Raises what create_jobs raises: JV400, JK422, JQ429.';
