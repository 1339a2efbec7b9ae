create or replace function aiserv._remember_turns(job_ids uuid[])
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    moment timestamptz := clock_timestamp();
begin
    -- A microsecond for each place in the line: who came last in this claim comes last in the next. Owners are looked up by
    -- their keys, one by one: in a join each might be compared with every other.
    with served as materialized (
        select
            lease.model_profile, lease.task_type, lease.owner_service,
            moment + max(taken.position) * interval '1 microsecond' as served_at
        from unnest(_remember_turns.job_ids) with ordinality as taken(job_id, position)
        -- `between`: see _complete.
        join aiserv.lease as lease on lease.job_id between taken.job_id and taken.job_id
        group by lease.model_profile, lease.task_type, lease.owner_service
    ),
    -- A row that another claim holds is left alone: turns may be a little unfair, but never a queue for a lock.
    free as materialized (
        select spot.place, served.served_at
        from served
        cross join lateral (
            select turn.ctid as place
            from aiserv.turn as turn
            where turn.model_profile = served.model_profile
              and turn.task_type = served.task_type
              and turn.owner_service = served.owner_service
            limit 1
            for update skip locked
        ) as spot
    ),
    known as (
        update aiserv.turn as turn set served_at = free.served_at from free where turn.ctid = free.place
    )
    insert into aiserv.turn (model_profile, task_type, owner_service, served_at)
    select served.model_profile, served.task_type, served.owner_service, served.served_at
    from served
    left join lateral (
        select true as is_known
        from aiserv.turn as turn
        where turn.model_profile = served.model_profile
          and turn.task_type = served.task_type
          and turn.owner_service = served.owner_service
        limit 1
    ) as earlier on true
    -- Nor does it wait for whoever is just writing the first row of an owner.
    where case
        when earlier.is_known is null
            then pg_try_advisory_xact_lock(hashtext('aiserv.turn'), hashtext(served.owner_service) & 63)
    end
    on conflict on constraint turn_pkey do nothing;
end;
$$;

comment on function aiserv._remember_turns is 'Note which owners these jobs, just leased in this order, have served.';
