create or replace function aiserv.create_batch(
    jobs            json,
    defaults        json default null,
    batch_id        uuid default null,
    idempotency_key text default null,
    plain           boolean default false
)
returns uuid[]
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
    this      uuid := coalesce(create_batch.batch_id, aiserv.new_id());
    members   uuid[];
    stored    record;
    unknown   text;
    complaint text;
begin
    if json_typeof(create_batch.jobs) is distinct from 'array' then
        raise exception using errcode = 'JV400', message = 'jobs: must be an array';
    elsif json_typeof(create_batch.defaults) <> 'object' then
        raise exception using errcode = 'JV400', message = 'defaults: must be an object';
    end if;
    select field.name into unknown
    from json_object_keys(create_batch.defaults) as field(name)
    where not aiserv._is_field(field.name)
    limit 1;
    if found then
        raise exception using errcode = 'JV400', message = format('defaults.%s: unknown field', unknown);
    end if;

    begin
        members := aiserv._reserve_batch(this, create_batch.jobs, create_batch.defaults, create_batch.idempotency_key);
        if members <> '{}' then
            return members;
        end if;
        stored := aiserv._store_jobs(
            create_batch.jobs, create_batch.defaults, this, shows => false, plain => create_batch.plain
        );
        members := coalesce(stored.job_ids, '{}');
    exception
        when data_exception or not_null_violation or check_violation then
            complaint := coalesce(
                aiserv._complaint_about(create_batch.jobs, create_batch.defaults),
                case when json_array_length(create_batch.jobs) = 0 then 'jobs: must have 1 to 100000 items' end
            );
            if complaint is not null then
                raise exception using errcode = 'JV400', message = complaint;
            elsif create_batch.defaults is null then
                raise;
            end if;
            -- What they share makes no sense, and each item has something else in its place.
            return aiserv.create_batch(
                (
                    select json_agg(aiserv.merge_jobs(create_batch.defaults, part.value) order by part.place)
                    from json_array_elements(create_batch.jobs) with ordinality as part(value, place)
                ),
                null, this, create_batch.idempotency_key
            );
    end;
    -- Counted when they are there: to look through all of the JSON for it would cost more.
    if cardinality(members) not between 1 and 100000 then
        raise exception using errcode = 'JV400', message = 'jobs: must have 1 to 100000 items';
    end if;
    update aiserv.batch as batch set job_ids = members where batch.id = this;
    return members;
end;
$$;

comment on function aiserv.create_batch is
'Store many jobs as create_jobs does, and return only their ids, in input order: nothing is read again.
plain says that the items were looked at before: all names of their fields are known, no input is null or text, and they share
none. It saves a tenth.
Raises what create_jobs raises: JV400, JK422, JQ429.';
