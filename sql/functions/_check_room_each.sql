create or replace function aiserv._check_room_each(
    items         aiserv._new_job[],
    fresh         uuid[],
    inout refused aiserv._refusal[],
    inout job_ids uuid[]
)
language plpgsql
set search_path = ''
as $$
declare
    let_in     text[] := array[]::text[];
    turned_off jsonb  := jsonb_build_object();
    new        record;
begin
    begin
        perform aiserv._check_room(array(
            select item.owner_service
            from unnest(items) with ordinality as item
            where job_ids[item.ordinality] = fresh[item.ordinality]
        ));
        return;
    exception
        when sqlstate 'JQ429' then
            null;
    end;

    -- Not for all of them: one after the other.
    for new in
        select item.ordinality as place, item.owner_service as owner
        from unnest(items) with ordinality as item
        where job_ids[item.ordinality] = fresh[item.ordinality]
    loop
        -- Where one of an owner found no room, no later one does.
        if not turned_off ? new.owner then
            begin
                perform aiserv._check_room(array[new.owner], let_in);
                let_in := let_in || new.owner;
            exception
                when sqlstate 'JQ429' then
                    turned_off := turned_off || jsonb_build_object(new.owner, sqlerrm);
            end;
        end if;
        if turned_off ? new.owner then
            refused[new.place] := ('JQ429', turned_off ->> new.owner, null, 'Come again when some of them are claimed.');
        end if;
    end loop;

    delete from aiserv.idempotency as known
    using unnest(fresh, refused) as item(id, code, message, detail, hint)
    where item.code = 'JQ429' and known.job_id = item.id;

    -- Those too that repeat the key of one of them in the same call, with its body or another: it has made no job.
    with turned_away as materialized (
        select item.ordinality as place, item.owner_service, item.idempotency_key, refused[item.ordinality] as why
        from unnest(items) with ordinality as item
        where (refused[item.ordinality]).code = 'JQ429'
    )
    select
        array_agg(coalesce(first.why, refused[item.ordinality]) order by item.ordinality),
        array_agg(case when first.place is null then job_ids[item.ordinality] end order by item.ordinality)
    into refused, job_ids
    from unnest(items) with ordinality as item
    left join turned_away as first
        on first.place = item.ordinality
        or first.owner_service = item.owner_service and first.idempotency_key = item.idempotency_key;
end;
$$;

comment on function aiserv._check_room_each is
'Refuse those of the new jobs of create_each for which _check_room finds no room, in order; what they have reserved is free again.';
