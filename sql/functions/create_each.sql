create or replace function aiserv.create_each(
    jobs     json,
    patience interval default '100 ms',
    plain    boolean  default false
)
returns table (id uuid, job json, version text, is_new boolean, code text, message text, detail text, hint text)
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
    -- What owners have been told for whose jobs there is no room.
    full_up jsonb := jsonb_build_object();
    made    record;
    created aiserv.jobs;
    item    record;
begin
    if json_typeof(create_each.jobs) is distinct from 'array' then
        raise exception using errcode = 'JV400', message = 'jobs: must be an array';
    end if;
    begin
        made := aiserv._store_jobs(create_each.jobs, patience => create_each.patience, plain => create_each.plain);
        if made.new_ids is null then
            return query
            select new.id, aiserv.job_json(new), aiserv.job_version(new), true, null, null, null, null
            from unnest(made.created) as new;
        else
            return query
            select known.id, aiserv.job_json(known), aiserv.job_version(known), made.new_ids[place.number] is not null, null, null, null, null
            from generate_subscripts(made.created, 1) as place(number)
            cross join lateral unnest(made.created[place.number:place.number]) as known
            order by place.number;
        end if;
        return;
    exception
        when sqlstate 'JV400' or sqlstate 'JK422' or sqlstate 'JQ429' or data_exception or not_null_violation
            or lock_not_available or deadlock_detected then
            null;
    end;

    -- Not all together: one after the other, to find out which of them are refused.
    for item in
        select
            json_build_array(part.value) as jobs,
            case when part.value ->> 'idempotency_key' is null then part.value ->> 'owner_service' end as owner
        from json_array_elements(create_each.jobs) with ordinality as part(value, place)
        order by part.place
    loop
        id := null;
        job := null;
        version := null;
        is_new := null;
        code := null;
        message := null;
        detail := null;
        hint := null;
        begin
            -- Where one of an owner found no room, no later one does.
            if full_up ? item.owner then
                raise exception using
                    errcode = 'JQ429', message = full_up ->> item.owner, hint = 'Come again when some of them are claimed.';
            end if;
            made := aiserv._store_jobs(item.jobs, patience => interval '1 ms');
            created := made.created[1];
            id := created.id;
            job := aiserv.job_json(created);
            version := aiserv.job_version(created);
            is_new := made.new_ids is null or made.new_ids[1] is not null;
        exception
            when sqlstate 'JK422' or sqlstate 'JQ429' then
                get stacked diagnostics
                    code = returned_sqlstate, message = message_text, detail = pg_exception_detail, hint = pg_exception_hint;
                detail := nullif(detail, '');
            when lock_not_available or deadlock_detected then
                code := '55P03';
                message := 'another transaction holds its idempotency key';
                hint := 'Create it alone, or with more patience.';
            when data_exception or not_null_violation then
                code := 'JV400';
                message := regexp_replace(aiserv._complaint_about(item.jobs), '^jobs\[\d+\](\.|: )', '');
                if message is null then
                    raise;
                end if;
        end;
        if code = 'JQ429' and item.owner is not null then
            full_up := full_up || jsonb_build_object(item.owner, message);
        end if;
        return next;
    end loop;
end;
$$;

comment on function aiserv.create_each is
'Store many jobs in one transaction, each for itself, and return in input order what became of each: the job as job_json shows it,
its version and whether it is new, or the code (JV400, JK422, JQ429), message, detail and hint of its refusal. jobs is a JSON array
of objects with the parameters of create_job. An item is refused with 55P03 when another transaction holds its idempotency key for
longer than patience: create it alone, or with more of it. plain as in create_batch.
Raises JV400 (jobs is no array).';
