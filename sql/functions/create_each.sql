create or replace function aiserv.create_each(
    jobs     json,
    patience interval default '100 ms'
)
returns table (created aiserv.jobs, is_new boolean, code text, message text, detail text, hint text)
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
    moment   timestamptz := clock_timestamp();
    parsed   record;
    fresh    uuid[];
    reserved record;
begin
    if json_typeof(create_each.jobs) is distinct from 'array' then
        raise exception using errcode = 'JV400', message = 'jobs: must be an array';
    end if;
    parsed := aiserv._parse_each(create_each.jobs);
    fresh := aiserv._new_ids(moment, cardinality(parsed.items));
    reserved := aiserv._reserve_each(parsed.items, fresh, create_each.patience, parsed.refused);
    -- After the keys: what is there already needs no room.
    if concat(current_setting('aiserv.max_pending', true), current_setting('aiserv.max_pending_per_owner', true)) <> '' then
        reserved := aiserv._check_room_each(parsed.items, fresh, reserved.refused, reserved.job_ids);
    end if;
    perform aiserv._store_jobs(parsed.items, fresh, reserved.job_ids, null, moment);

    return query
    select
        shown::aiserv.jobs, reserved.job_ids[why.place] = fresh[why.place], coalesce(why.code, gone.code),
        coalesce(why.message, gone.message), why.detail, coalesce(why.hint, gone.hint)
    from unnest(reserved.refused) with ordinality as why(code, message, detail, hint, place)
    left join aiserv.jobs as shown on shown.id = reserved.job_ids[why.place]
    -- Its key was known a moment ago, and its job has been deleted since: now the key is free.
    left join (values ('55P03', 'the job of its idempotency key has just been deleted', 'Create it again.')) as gone(code, message, hint)
        on why.code is null and shown.id is null
    order by why.place;
end;
$$;

comment on function aiserv.create_each is
'Store many jobs in one transaction, each for itself, and return in input order what became of each: the job as create_job
returns it and whether it is new, or the code, message, detail and hint of its refusal. jobs is a JSON array of objects with the
parameters of create_job. An item is refused with 55P03 when another transaction holds its idempotency key for longer than
patience, or has just lost its job to retention: create it alone, or with more of it.
Raises JV400 (jobs is no array).';
