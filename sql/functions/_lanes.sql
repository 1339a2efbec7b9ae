create or replace function aiserv._lanes()
returns setof aiserv.ready
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return query
    with recursive lane as (
        (
            select ready.*
            from aiserv.ready as ready
            order by ready.queue_key, ready.priority, ready.owner_key, ready.run_at, ready.job_id
            limit 1
        )
        union all
        select next.*
        from lane
        cross join lateral (
            select ready.*
            from aiserv.ready as ready
            where (ready.queue_key, ready.priority, ready.owner_key) > (lane.queue_key, lane.priority, lane.owner_key)
            order by ready.queue_key, ready.priority, ready.owner_key, ready.run_at, ready.job_id
            limit 1
        ) as next
    )
    select lane.* from lane;
end;
$$;

comment on function aiserv._lanes is 'The oldest ready job of each queue, priority and owner: one look into the index for each.';
