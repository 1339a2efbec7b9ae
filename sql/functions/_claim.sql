create or replace function aiserv._claim(
    task_types     text[],
    model_profiles text[],
    max_jobs       integer,
    claimer        aiserv._claimer,
    recover        boolean,
    out jobs       aiserv.jobs[],
    out wake_at    timestamptz
)
language plpgsql
set search_path = pg_temp
as $$
declare
    asked         record;
    open_profiles text[];
    open_kinds    text[];
    key           bigint;
    capacity      bigint;
    moment        timestamptz := clock_timestamp();
    due_at        timestamptz;
    is_due        boolean;
    limited       boolean;
    troubled      boolean;
    services      aiserv._service[];
    looked        record;
    below         integer := 101;
    depth         integer := 1;
    taken         record;
    leased        aiserv.jobs;
    claimed       integer := 0;
    again         record;
    bytes_left    bigint := 67108864::bigint;  -- 64 MiB
    kept          jsonb := aiserv._cursor('aiserv.claim_cursor');
    pages         bigint := 0;
begin
    asked := aiserv._queues(_claim.task_types, _claim.model_profiles, claimer.queues);
    -- Whoever gives a queue its first settings waits for the claims that did not see them, and claims for who is giving some.
    -- Which locks these are depends on nothing but what the claimer asked for: a second look in the same transaction must not
    -- take others, out of order.
    foreach key in array aiserv._settings_keys(_claim.model_profiles) loop
        perform pg_advisory_xact_lock_shared(key);
    end loop;
    open_profiles := asked.profiles;
    open_kinds := asked.kinds;

    -- Nearly always nothing of it is so, and this is all that it costs. A queue without settings pays nothing for those that others
    -- have. The rows, too, are those of what was asked for.
    select
        due.run_at,
        exists (
            select
            from aiserv.queue_setting as setting
            where coalesce(cardinality(_claim.model_profiles), 0) = 0 or setting.model_profile = any(_claim.model_profiles)
        ),
        exists (select from aiserv.provider)
    into due_at, limited, troubled
    from aiserv._first_due(asked.profiles, asked.kinds) as due;
    is_due := due_at <= moment;
    if is_due then
        perform aiserv._promote(asked.profiles, asked.kinds);
    end if;
    if limited then
        perform aiserv._lock_limits(_claim.model_profiles);
        -- It may have waited, and a provider may have got into trouble meanwhile.
        troubled := troubled or exists (select from aiserv.provider);
    end if;
    if troubled then
        services := aiserv._services(asked.profiles, asked.kinds, claimer.providers);
    end if;

    while claimed < _claim.max_jobs and bytes_left > 0 loop
        if limited or troubled then
            -- A statement of its own: it counts what others claimed while this one waited for the lock.
            select array_agg(queue.model_profile), array_agg(queue.task_type), min(queue.capacity)
            into open_profiles, open_kinds, capacity
            from aiserv._open_queues(asked.profiles, asked.kinds, services) as queue;
        end if;

        looked := aiserv._level(open_profiles, open_kinds, below, claimer.owner_service, kept);
        exit when looked.level is null;

        taken := aiserv._take(
            looked.lanes, looked.level, least(_claim.max_jobs - claimed, capacity)::integer, depth, bytes_left, claimer
        );
        -- One by one, in place: with a rate of tokens each round takes one job, and must not copy all those before.
        foreach leased in array coalesce(taken.jobs, '{}') loop
            _claim.jobs := array_append(_claim.jobs, leased);
        end loop;
        claimed := claimed + coalesce(cardinality(taken.jobs), 0);
        bytes_left := bytes_left - taken.bytes;
        pages := pages + taken.pages;
        if limited then
            perform aiserv._spend(array(select job.id from unnest(taken.jobs) as job));
        end if;
        if troubled then
            services := aiserv._send_probes(array(select job.id from unnest(taken.jobs) as job), services);
        end if;
        if kept is not null and taken.is_last then
            -- Nothing after the cursor: what there is lies before it.
            kept := null;
        -- Nothing here but what other claims hold: look further down the lanes, at last below this level.
        elsif taken.is_last then
            exit when looked.is_lowest;
            below := looked.level;
            depth := 1;
        elsif taken.jobs is null then
            depth := depth * 8;
        end if;
    end loop;

    -- A long transaction elsewhere keeps the rows of jobs long claimed, and each look from the head walks over them: then the next
    -- claim begins where this one ended. Full claims only: whoever comes back short has looked everywhere.
    if claimed > 0 and claimed = _claim.max_jobs and (kept is not null or pages > 8 * claimed + 100) then
        perform aiserv._move_cursor(kept, array(select job.id from unnest(_claim.jobs) as job));
    end if;
    if claimed = _claim.max_jobs then
        return;
    end if;

    -- Short for its bytes and not for want of jobs: whoever looks next finds more.
    if bytes_left <= 0 then
        perform pg_notify('aiserv_ready', queue.model_profile)
        from (select distinct unnest(open_profiles)) as queue(model_profile);
    end if;
    if not _claim.recover then
        return;
    end if;
    if is_due or limited or troubled then
        _claim.wake_at := aiserv._next_wake(asked.profiles, asked.kinds);
    else
        -- Without these there is nothing else; and what was scheduled since the look at the beginning announces itself.
        _claim.wake_at := least(due_at, aiserv._first_expiry());
    end if;
    -- Only a claim that came back short looks for jobs of the dead: no one waits longer than the lease.
    if _claim.wake_at is null or _claim.wake_at > clock_timestamp() then
        return;
    end if;
    perform from aiserv.recover_jobs();
    if not found then
        return;
    end if;
    again := aiserv._claim(_claim.task_types, _claim.model_profiles, _claim.max_jobs - claimed, claimer, recover => false);
    _claim.jobs := _claim.jobs || again.jobs;
    _claim.wake_at := case
        when coalesce(cardinality(_claim.jobs), 0) < _claim.max_jobs then aiserv._next_wake(asked.profiles, asked.kinds)
    end;
end;
$$;

comment on function aiserv._claim is
'Lease up to max_jobs jobs of these queues to the claimer and return them in order (priority, owners in turns, run_at, id), or null;
inputs of more than 2,000 bytes are left in aiserv.job (null here): whoever returns the jobs reads them there, one at a time.
With recover a claim that comes back short takes jobs of the dead, too, and if it is short all the same, says when to try again: see
next_wake.';
