create or replace function aiserv._claim(
    task_types     text[],
    model_profiles text[],
    max_jobs       integer,
    claimer        aiserv._claimer
)
returns uuid[]
language plpgsql
set search_path = ''
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
declare
    profiles      text[];
    kinds         text[];
    open_profiles text[];
    open_kinds    text[];
    capacity      bigint;
    limited       boolean;
    level         integer;
    below         integer := 101;
    taken         record;
    claimed       uuid[] := '{}';
    bytes_left    bigint := 64 * 1024 * 1024;
begin
    select array_agg(queue.model_profile), array_agg(queue.task_type) into profiles, kinds
    from aiserv._queues(_claim.task_types, _claim.model_profiles) as queue;
    perform aiserv._promote(profiles, kinds);
    open_profiles := profiles;
    open_kinds := kinds;

    -- A queue without settings pays nothing for those that others have.
    limited := exists (select from aiserv.queue_setting as setting where setting.model_profile = any(profiles));
    if limited then
        perform aiserv._lock_limits(profiles);
    end if;

    while cardinality(claimed) < _claim.max_jobs and bytes_left > 0 loop
        if limited then
            -- A statement of its own: it counts what others claimed while this one waited for the lock.
            select array_agg(queue.model_profile), array_agg(queue.task_type), min(queue.capacity)
            into open_profiles, open_kinds, capacity
            from aiserv._open_queues(profiles, kinds) as queue;
        end if;

        select max(top.priority) into level
        from unnest(open_profiles, open_kinds) as queue(model_profile, task_type)
        cross join lateral (
            select ready.priority
            from aiserv.ready as ready
            where ready.model_profile = queue.model_profile and ready.task_type = queue.task_type and ready.priority < below
            order by ready.priority desc
            limit 1
        ) as top;
        exit when level is null;

        select * into taken
        from aiserv._take(
            open_profiles, open_kinds, level, least(_claim.max_jobs - cardinality(claimed), capacity)::integer, bytes_left,
            claimer
        );
        claimed := claimed || taken.job_ids;
        bytes_left := bytes_left - taken.bytes;
        if limited then
            perform aiserv._spend(taken.job_ids);
        end if;
        -- Nothing left on this level but what other claims hold: look below it.
        if taken.job_ids = '{}' then
            below := level;
        end if;
    end loop;
    return claimed;
end;
$$;

comment on function aiserv._claim is 'Lease up to max_jobs jobs of these queues to the claimer and return their ids, in order: priority, owners in turns, run_at, id.';
