create or replace function aiserv._reserve_keys(
    items   aiserv._new_job[],
    job_ids uuid[]
)
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
    settled uuid[];
begin
    loop
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
        select
            array_agg(
                case when item.idempotency_key is null then _reserve_keys.job_ids[item.ordinality] else known.job_id end
                order by item.ordinality
            )
        into settled
        from unnest(_reserve_keys.items) with ordinality as item
        left join aiserv.idempotency as known
            on known.owner_service = item.owner_service and known.idempotency_key = item.idempotency_key;

        -- A key that was there may have been pruned while the insert waited for the next one: then it is free.
        exit when array_position(settled, null) is null;
    end loop;
    return settled;
end;
$$;

comment on function aiserv._reserve_keys is
'The id of each item''s job: the one that its idempotency key made before, or the new one given. Whether the bodies match _mismatches tells.';
