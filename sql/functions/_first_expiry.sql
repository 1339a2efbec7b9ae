create or replace function aiserv._first_expiry()
returns timestamptz
language plpgsql
set search_path = pg_temp
as $$
declare
    kept    jsonb := aiserv._cursor('aiserv.lease_cursor');
    soonest timestamptz;
    head    tid;
    -- So many pages are walked over as quickly as kept in mind.
    few     tid := '(100,0)'::tid;
begin
    select min(lease.lease_expires_at), min(lease.ctid)
    into soonest, head
    from aiserv.lease as lease
    where lease.ctid >= coalesce((kept ->> 'head')::tid, '(0,0)');
    if kept is not null then
        -- Then with a look from the head.
        return least(soonest, (kept ->> 'until')::timestamptz);
    end if;

    -- No index knows the time, and a long transaction elsewhere keeps the rows of jobs long settled, which lie before the others.
    if head is null then
        head := format(
            '(%s,0)', greatest(pg_relation_size('aiserv.lease') / current_setting('block_size')::integer - 1, 0)
        )::tid;
    end if;
    if head > few then
        perform aiserv._keep_cursor('aiserv.lease_cursor', null, jsonb_build_object('head', head));
    end if;
    return soonest;
end;
$$;

comment on function aiserv._first_expiry is
'When the first lease of all runs out, or when to look again, if that is sooner; null for neither. While many rows of settled jobs
are kept, a lease made in the last five seconds may be missed, if it found room before all others.';
