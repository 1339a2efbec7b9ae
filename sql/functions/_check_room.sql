create or replace function aiserv._check_room(
    jobs     json,
    defaults json,
    new_ids  uuid[]
)
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    most           bigint := nullif(current_setting('aiserv.max_pending', true), '')::bigint;
    most_per_owner bigint := nullif(current_setting('aiserv.max_pending_per_owner', true), '')::bigint;
    owners         text[] := array(
        select (sent.item).owner_service
        from aiserv._sent_jobs(_check_room.jobs, _check_room.defaults) as sent
        where sent.is_sound and (_check_room.new_ids is null or _check_room.new_ids[sent.place] is not null)
    );
    full_up        record;
begin
    select known.owner_service, known.pending, known.limit_of into full_up
    from (
        select waiting.owner_service, sum(waiting.pending) as pending, sum(waiting.created) as created, waiting.limit_of
        from (
            select level.owner_service, part.pending, part.created, level.limit_of
            from (
                select
                    counter.owner_service, counter.total - counter.completed - counter.failed - counter.cancelled as pending,
                    0 as created
                from aiserv._counters as counter
                union all
                select lease.owner_service, -1, 0 from aiserv.lease as lease
                union all
                select item.owner_service, 0, 1 from unnest(owners) as item(owner_service)
            ) as part
            cross join lateral (values (null, most), (part.owner_service, most_per_owner)) as level(owner_service, limit_of)
            where level.limit_of is not null
              -- Without a cap on all of them only those matter who create.
              and (most is not null or part.owner_service in (select unnest(owners)))
        ) as waiting
        group by waiting.owner_service, waiting.limit_of
    ) as known
    where known.created > 0 and known.pending + known.created > known.limit_of
    order by known.owner_service nulls first
    limit 1;

    if found then
        raise exception using
            errcode = 'JQ429',
            message = case
                when full_up.owner_service is null then format('%s jobs wait, and no more than %s may', full_up.pending, full_up.limit_of)
                else format('%s jobs of %s wait, and no more than %s may', full_up.pending, full_up.owner_service, full_up.limit_of)
            end,
            hint = 'Come again when some of them are claimed.';
    end if;

    -- What is not folded is read by every create: let it never become much.
    if (select count(*) from (select from aiserv.delta as delta limit 2001) as unfolded) > 2000 then
        perform aiserv._fold();
    end if;
end;
$$;

comment on function aiserv._check_room is
'Raise JQ429 when the items, or those of them that have a new id, are more than aiserv.max_pending or
aiserv.max_pending_per_owner lets wait beside the jobs that wait already.
By the counters: creates that run at the same moment do not see each other.';
