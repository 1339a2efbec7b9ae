create or replace function aiserv._mismatches(
    items   aiserv._new_job[],
    job_ids uuid[]
)
returns table (place bigint, idempotency_key text, job_id uuid)
language plpgsql
set search_path = ''
as $$
begin
    return query
    select item.ordinality, item.idempotency_key, known.job_id
    from unnest(_mismatches.items) with ordinality as item
    join aiserv.idempotency as known
        on known.owner_service = item.owner_service and known.idempotency_key = item.idempotency_key
    -- The key that this item itself has made needs no look.
    where known.job_id <> _mismatches.job_ids[item.ordinality]
      and known.fingerprint <> aiserv._fingerprint(_mismatches.items[item.ordinality])
    order by item.ordinality;
end;
$$;

comment on function aiserv._mismatches is
'The items whose idempotency key was used for another body, in order; job_ids are those that they would have had.';
