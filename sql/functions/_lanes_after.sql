create or replace function aiserv._lanes_after(
    cursor jsonb,
    lanes  aiserv._lane[],
    level  integer
)
returns aiserv._lane[]
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return array(
        select (
            lane.model_profile, lane.task_type, lane.owner_service,
            coalesce((spot.place ->> 0)::timestamptz, lane.run_at), coalesce((spot.place ->> 1)::uuid, lane.job_id)
        )::aiserv._lane
        from unnest(_lanes_after.lanes) as lane
        cross join lateral (
            select _lanes_after.cursor -> 'lanes' -> jsonb_build_array(
                lane.model_profile, lane.task_type, _lanes_after.level, lane.owner_service
            )::text as place
        ) as spot
    );
end;
$$;

comment on function aiserv._lanes_after is 'These lanes of one priority, each from where the cursor of claims has come to in it.';
