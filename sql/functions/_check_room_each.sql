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

    -- Those too that repeat one of them in the same call.
    select
        array_agg(coalesce(first.why, refused[item.position]) order by item.position),
        array_agg(case when first.why is null then item.id end order by item.position)
    into refused, job_ids
    from unnest(job_ids) with ordinality as item(id, position)
    left join lateral (
        select refused[made.position] as why
        from unnest(fresh) with ordinality as made(id, position)
        where made.id = item.id and (refused[made.position]).code = 'JQ429'
    ) as first on true;
end;
$$;

comment on function aiserv._check_room_each is
'Refuse those of the new jobs of create_each for which _check_room finds no room, in order; what they have reserved is free again.';
