create or replace function aiserv._take(
    model_profiles text[],
    task_types     text[],
    level          integer,
    max_jobs       integer,
    depth          integer,
    max_bytes      bigint,
    claimer        aiserv._claimer,
    cursor         jsonb,
    out job_ids    uuid[],
    out bytes      bigint,
    out pages      bigint,
    out is_last    boolean
)
language plpgsql
set search_path = pg_temp
as $$
declare
    lanes aiserv._lane[];
    held  record;
    size  integer;
    fit   integer := 0;
begin
    lanes := aiserv._level(_take.model_profiles, _take.task_types, _take.level, claimer.owner_service, _take.cursor);
    _take.pages := aiserv._ready_pages();
    if cardinality(lanes) = 1 then
        -- The usual case: with one owner there are no turns.
        held := aiserv._hold(lanes[1], _take.level, _take.max_jobs);
    else
        held := aiserv._hold_in_turns(lanes, _take.level, _take.max_jobs, _take.depth);
    end if;
    -- The way to each lane takes a few, whoever holds what.
    _take.pages := aiserv._ready_pages() - _take.pages - 4 * cardinality(lanes);
    _take.is_last := held.is_last;

    -- Those with less than max_bytes before them.
    _take.bytes := 0;
    foreach size in array coalesce(held.sizes, '{}') loop
        exit when _take.bytes >= _take.max_bytes;
        fit := fit + 1;
        _take.bytes := _take.bytes + size;
    end loop;
    _take.job_ids := coalesce(held.job_ids[:fit], '{}');
    if fit > 0 then
        perform aiserv._lease(held.places[:fit], claimer);
    end if;
    if cardinality(lanes) > 1 and fit > 0 then
        perform aiserv._remember_turns(lanes, held.numbers[:fit]);
    end if;
end;
$$;

comment on function aiserv._take is
'Lease up to max_jobs ready jobs of one priority level from these queues to the claimer, no further one once their inputs have
max_bytes. is_last says that the level holds nothing else; otherwise what is left may lie deeper than other claims hold, or before
the cursor. pages is how many it took to find them, but for the way to each lane.';
