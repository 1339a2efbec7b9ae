create or replace function aiserv._claim(
    task_types     text[],
    model_profiles text[],
    max_jobs       integer,
    claimer        aiserv._claimer
)
returns uuid[]
language plpgsql
set search_path = pg_temp
as $$
declare
    asked         record;
    open_profiles text[];
    open_kinds    text[];
    capacity      bigint;
    moment        timestamptz := clock_timestamp();
    due           boolean;
    limited       boolean;
    troubled      boolean;
    services      aiserv._service[];
    level         integer;
    below         integer := 101;
    depth         integer := 1;
    taken         record;
    claimed       uuid[] := array[]::uuid[];
    bytes_left    bigint := 67108864::bigint;  -- 64 MiB
    kept          jsonb := aiserv._cursor();
    pages         bigint := 0;
begin
    asked := aiserv._queues(_claim.task_types, _claim.model_profiles, claimer.queues);
    -- Whoever gives a queue its first settings waits for the claims that did not see them, and claims for who is giving some.
    -- Which locks these are depends on nothing but what the claimer asked for: a second look in the same transaction must not
    -- take others, out of order.
    perform pg_advisory_xact_lock_shared(settings.key)
    from (
        select distinct aiserv._settings_key(profile.name) as key
        from unnest(coalesce(nullif(_claim.model_profiles, '{}'), array[null])) as profile(name)
        order by 1
    ) as settings;
    open_profiles := asked.profiles;
    open_kinds := asked.kinds;

    -- Nearly always neither is so, and this is all that it costs. A queue without settings pays nothing for those that others
    -- have. The rows, too, are those of what was asked for.
    select
        exists (
            select
            from unnest(asked.profiles, asked.kinds) as queue(model_profile, task_type)
            join aiserv.scheduled as scheduled
                on scheduled.model_profile = queue.model_profile
                and scheduled.task_type = queue.task_type
                and scheduled.run_at <= moment
        ),
        exists (
            select
            from aiserv.queue_setting as setting
            where coalesce(cardinality(_claim.model_profiles), 0) = 0 or setting.model_profile = any(_claim.model_profiles)
        )
    into due, limited;
    if due then
        perform aiserv._promote(asked.profiles, asked.kinds);
    end if;
    if limited then
        perform aiserv._lock_limits(_claim.model_profiles);
    end if;
    -- As long as all providers are well, this is all that it costs.
    troubled := exists (select from aiserv.provider);
    if troubled then
        services := aiserv._services(asked.profiles, asked.kinds, claimer.providers);
    end if;

    while cardinality(claimed) < _claim.max_jobs and bytes_left > 0 loop
        if limited or troubled then
            -- A statement of its own: it counts what others claimed while this one waited for the lock.
            select array_agg(queue.model_profile), array_agg(queue.task_type), min(queue.capacity)
            into open_profiles, open_kinds, capacity
            from aiserv._open_queues(asked.profiles, asked.kinds, services) as queue;
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

        taken := aiserv._take(
            open_profiles, open_kinds, level, least(_claim.max_jobs - cardinality(claimed), capacity)::integer, depth,
            bytes_left, claimer, kept
        );
        claimed := claimed || taken.job_ids;
        bytes_left := bytes_left - taken.bytes;
        pages := pages + taken.pages;
        if limited then
            perform aiserv._spend(taken.job_ids);
        end if;
        if troubled then
            services := aiserv._send_probes(taken.job_ids, services);
        end if;
        if kept is not null and taken.is_last then
            -- Nothing after the cursor: what there is lies before it.
            kept := null;
        -- Nothing here but what other claims hold: look further down the lanes, at last below this level.
        elsif taken.is_last then
            below := level;
            depth := 1;
        elsif taken.job_ids = '{}' then
            depth := depth * 8;
        end if;
    end loop;

    -- A long transaction elsewhere keeps the rows of jobs long claimed, and each look from the head walks over them: then the next
    -- claim begins where this one ended. Full claims only: whoever comes back short has looked everywhere.
    if claimed <> '{}' and cardinality(claimed) = _claim.max_jobs and (kept is not null or pages > 8 * cardinality(claimed) + 100) then
        perform aiserv._move_cursor(kept, claimed);
    end if;

    -- Short for its bytes and not for want of jobs: whoever looks next finds more.
    if bytes_left <= 0 and cardinality(claimed) < _claim.max_jobs then
        perform pg_notify('aiserv_ready', queue.model_profile)
        from (select distinct unnest(open_profiles)) as queue(model_profile);
    end if;
    return claimed;
end;
$$;

comment on function aiserv._claim is 'Lease up to max_jobs jobs of these queues to the claimer and return their ids, in order: priority, owners in turns, run_at, id.';
