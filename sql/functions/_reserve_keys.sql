create or replace function aiserv._reserve_keys(
    items   aiserv._new_job[],
    job_ids uuid[]
)
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
    settled  uuid[];
    mismatch record;
begin
    -- Sorted, so that two batches with the same keys wait for each other and never deadlock. Of equal
    -- keys in one batch the first makes the job.
    insert into aiserv.idempotency (owner_service, idempotency_key, job_id, fingerprint)
    select distinct on (item.owner_service, item.idempotency_key)
        item.owner_service,
        item.idempotency_key,
        _reserve_keys.job_ids[item.ordinality],
        aiserv._fingerprint(_reserve_keys.items[item.ordinality])
    from unnest(_reserve_keys.items) with ordinality as item
    where item.idempotency_key is not null
    order by item.owner_service, item.idempotency_key, item.ordinality
    on conflict on constraint idempotency_pkey do nothing;

    -- A new statement: it sees the keys of those it waited for.
    select array_agg(coalesce(known.job_id, _reserve_keys.job_ids[item.ordinality]) order by item.ordinality) into settled
    from unnest(_reserve_keys.items) with ordinality as item
    left join aiserv.idempotency as known
        on known.owner_service = item.owner_service and known.idempotency_key = item.idempotency_key;

    select item.ordinality, item.idempotency_key, known.job_id, known.job_id = any(_reserve_keys.job_ids) as within_batch
    into mismatch
    from unnest(_reserve_keys.items) with ordinality as item
    join aiserv.idempotency as known
        on known.owner_service = item.owner_service and known.idempotency_key = item.idempotency_key
    -- Its own key it has just made.
    where known.job_id <> _reserve_keys.job_ids[item.ordinality]
      and known.fingerprint <> aiserv._fingerprint(_reserve_keys.items[item.ordinality])
    order by item.ordinality
    limit 1;

    if found and mismatch.within_batch then
        raise exception using
            errcode = 'JV400',
            message = format('jobs[%s].idempotency_key: the batch has this key twice with different bodies', mismatch.ordinality - 1);
    elsif found then
        raise exception using
            errcode = 'JK422',
            message = format('idempotency_key %s was used for another body', to_json(mismatch.idempotency_key)),
            detail = format('It made job %s.', mismatch.job_id),
            hint = 'Repeat the request with the body of the first time, or choose a new key.';
    end if;
    return settled;
end;
$$;

comment on function aiserv._reserve_keys is
'The id of each item''s job: the one that its idempotency key made before, or the new one given. Raises JK422 and JV400.';
