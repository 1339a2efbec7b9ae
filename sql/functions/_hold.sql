create or replace function aiserv._hold(
    lane        aiserv._lane,
    level       integer,
    max_jobs    integer,
    out places  tid[],
    out sizes   integer[],
    out bytes   bigint,
    out is_last boolean
)
language plpgsql
set search_path = pg_temp
as $$
begin
    select array_agg(held.ctid), array_agg(held.input_bytes), sum(held.input_bytes) into _hold.places, _hold.sizes, _hold.bytes
    from (
        select ready.ctid, ready.input_bytes
        from aiserv.ready as ready
        where ready.model_profile = _hold.lane.model_profile
          and ready.task_type = _hold.lane.task_type
          and ready.priority = _hold.level
          and ready.owner_service = _hold.lane.owner_service
          and (ready.run_at, ready.job_id) > (_hold.lane.run_at, _hold.lane.job_id)
        order by ready.run_at, ready.job_id
        limit _hold.max_jobs
        for update skip locked
    ) as held;
    _hold.is_last := coalesce(cardinality(_hold.places), 0) < _hold.max_jobs;
end;
$$;

comment on function aiserv._hold is
'Lock up to max_jobs ready jobs of one lane, by run_at, then id, and say where they lie and how large their inputs are, each and together; null for none.
What other claims hold is skipped on the way. is_last says that the lane holds nothing else.';
