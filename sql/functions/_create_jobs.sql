create or replace function aiserv._create_jobs(
    items    aiserv._new_job[],
    batch_id uuid default null
)
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
    moment   timestamptz := clock_timestamp();
    fresh    uuid[]      := aiserv._new_ids(moment, cardinality(_create_jobs.items));
    job_ids  uuid[]      := fresh;
    mismatch record;
    refusal  aiserv._refusal;
begin
    if exists (select from unnest(_create_jobs.items) as item where item.idempotency_key is not null) then
        job_ids := aiserv._reserve_keys(_create_jobs.items, fresh);
        select wrong.* into mismatch from aiserv._mismatches(_create_jobs.items, fresh) as wrong limit 1;
        if found and mismatch.job_id = any(fresh) then
            raise exception using
                errcode = 'JV400',
                message = format('jobs[%s].idempotency_key: the batch has this key twice with different bodies', mismatch.place - 1);
        elsif found then
            refusal := aiserv._mismatch(mismatch.idempotency_key, mismatch.job_id);
            raise exception using
                errcode = refusal.code, message = refusal.message, detail = refusal.detail, hint = refusal.hint;
        end if;
    end if;
    -- After the keys: what is there already needs no room.
    if concat(current_setting('aiserv.max_pending', true), current_setting('aiserv.max_pending_per_owner', true)) <> '' then
        perform aiserv._check_room(array(
            select item.owner_service
            from unnest(_create_jobs.items) with ordinality as item
            where job_ids[item.ordinality] = fresh[item.ordinality]
        ));
    end if;

    perform aiserv._store_jobs(_create_jobs.items, fresh, job_ids, _create_jobs.batch_id, moment);
    return job_ids;
end;
$$;

comment on function aiserv._create_jobs is
'Store the checked jobs that are not there yet and return the id of each item''s job, in order. Raises JV400, JK422 and JQ429.';
