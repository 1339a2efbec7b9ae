create or replace function aiserv._reserve_each(
    items         aiserv._new_job[],
    fresh         uuid[],
    patience      interval,
    inout refused aiserv._refusal[],
    out job_ids   uuid[]
)
language plpgsql
set search_path = ''
as $$
declare
    keyed    bigint[] := array(
        select item.ordinality
        from unnest(_reserve_each.items) with ordinality as item
        where item.idempotency_key is not null
    );
    place    bigint;
    mismatch record;
begin
    job_ids := fresh;
    if keyed <> '{}' then
        job_ids := aiserv._reserve_keys_within(items, fresh, patience);
        if job_ids is null then
            -- One by one, to find out which of them is held.
            job_ids := fresh;
            foreach place in array keyed loop
                job_ids[place] := (aiserv._reserve_keys_within(items[place:place], fresh[place:place], interval '1 ms'))[1];
                if job_ids[place] is null then
                    refused[place] := ('55P03', 'another transaction holds its idempotency key', null, 'Create it alone, or with more patience.');
                end if;
            end loop;
        end if;
        for mismatch in select wrong.* from aiserv._mismatches(items, fresh) as wrong loop
            refused[mismatch.place] := aiserv._mismatch(mismatch.idempotency_key, mismatch.job_id);
        end loop;
    end if;
    for place in select why.ordinality from unnest(refused) with ordinality as why where why.code is not null loop
        job_ids[place] := null;
    end loop;
end;
$$;

comment on function aiserv._reserve_each is
'The id of each item''s job: the one that its idempotency key made before, the fresh one, or null where it is refused, and then why.';
