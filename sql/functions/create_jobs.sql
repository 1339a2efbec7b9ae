create or replace function aiserv.create_jobs(
    jobs     json,
    defaults json default null,
    batch_id uuid default null
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
    batch   uuid := coalesce(create_jobs.batch_id, aiserv.new_id());
    items   aiserv._new_job[];
    job_ids uuid[];
begin
    if json_typeof(create_jobs.jobs) is distinct from 'array' then
        raise exception using errcode = 'JV400', message = 'jobs: must be an array';
    end if;
    if json_array_length(create_jobs.jobs) not between 1 and 100000 then
        raise exception using errcode = 'JV400', message = 'jobs: must have 1 to 100000 items';
    end if;

    select array_agg(
        aiserv._parse_new_job(
            case when create_jobs.defaults is null then item.value else aiserv.merge_jobs(create_jobs.defaults, item.value) end,
            item.ordinality
        )
        order by item.ordinality
    ) into items
    from json_array_elements(create_jobs.jobs) with ordinality as item;
    job_ids := aiserv._create_jobs(items, batch);
    insert into aiserv.batch (id, job_ids, created_at) values (batch, job_ids, clock_timestamp())
    on conflict on constraint batch_pkey do nothing;
    if not found then
        raise exception using errcode = 'JV400', message = format('batch_id: batch %s exists already', batch);
    end if;

    return query
    select job.*
    from unnest(job_ids) with ordinality as created(id, position)
    join aiserv.jobs as job on job.id = created.id
    order by created.position;
end;
$$;

comment on function aiserv.create_jobs is
'Store many jobs in one transaction, all or none, and return them in input order. jobs is a JSON array of objects with the
parameters of create_job; defaults is such an object too, for what the items share, and its input merges with theirs.
New jobs carry the batch_id; a job that an idempotency key found keeps its own and counts in the batch all the same.
Raises JV400 (naming the item and the field), JK422 (a key was used for another body).';
