create or replace function aiserv._remember_turns(
    lanes   aiserv._lane[],
    numbers bigint[]
)
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    moment timestamptz := clock_timestamp();
begin
    -- A microsecond for each place in the line: who came last in this claim comes last in the next. Owners are looked up by
    -- their keys, one by one: in a join each might be compared with every other. A row that another claim holds is left alone:
    -- turns may be a little unfair, but never a queue for a lock.
    with served as materialized (
        select _remember_turns.lanes[taken.number] as lane, moment + max(taken.position) * interval '1 microsecond' as served_at
        from unnest(_remember_turns.numbers) with ordinality as taken(number, position)
        group by taken.number
    ),
    looked_up as materialized (
        select served.lane, served.served_at, free.place
        from served
        left join lateral (
            select turn.ctid as place
            from aiserv.turn as turn
            where turn.model_profile = (served.lane).model_profile
              and turn.task_type = (served.lane).task_type
              and turn.owner_service = (served.lane).owner_service
            limit 1
            for update skip locked
        ) as free on true
    ),
    known as (
        update aiserv.turn as turn set served_at = looked_up.served_at from looked_up where turn.ctid = looked_up.place
    )
    insert into aiserv.turn (model_profile, task_type, owner_service, served_at)
    select (missing.lane).model_profile, (missing.lane).task_type, (missing.lane).owner_service, missing.served_at
    from looked_up as missing
    -- Nor does it wait for whoever is just writing the first row of an owner.
    where case
        when missing.place is null and (
            select true
            from aiserv.turn as turn
            where turn.model_profile = (missing.lane).model_profile
              and turn.task_type = (missing.lane).task_type
              and turn.owner_service = (missing.lane).owner_service
            limit 1
        ) is null
            then pg_try_advisory_xact_lock(hashtext('aiserv.turn'), hashtext((missing.lane).owner_service) & 63)
    end
    on conflict on constraint turn_pkey do nothing;
end;
$$;

comment on function aiserv._remember_turns is
'Note which owners jobs, just leased in this order, have served: numbers says in which of the lanes each was.';
