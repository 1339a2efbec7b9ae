create or replace function aiserv.touch_worker(
    worker_id      text,
    task_types     text[]  default null,
    model_profiles text[]  default null,
    instance_id    uuid    default null,
    slots          integer default null,
    providers      jsonb   default null,
    queues         jsonb   default null,
    owner_service  text    default null
)
returns uuid
language plpgsql
security definer
set search_path = pg_temp
as $$
declare
    -- A worker over HTTP or psql has a name only: its instance is the name, one for each owner that it works for alone.
    instance uuid := coalesce(touch_worker.instance_id, md5(concat(touch_worker.worker_id, E'\n' || touch_worker.owner_service))::uuid);
    moment   timestamptz := clock_timestamp();
begin
    -- A busy worker claims many times a second: its row need not be written that often.
    if exists (
        select from aiserv.worker as worker
        where worker.instance_id = instance
          and worker.worker_id = touch_worker.worker_id
          and worker.last_seen_at > moment - interval '10 seconds'
          and worker.task_types = coalesce(touch_worker.task_types, '{}')
          and worker.model_profiles = coalesce(touch_worker.model_profiles, '{}')
          and worker.slots is not distinct from touch_worker.slots
          and worker.providers is not distinct from touch_worker.providers
          and worker.queues is not distinct from touch_worker.queues
          and worker.owner_service is not distinct from touch_worker.owner_service
    ) then
        return instance;
    end if;

    if num_nonnulls(touch_worker.providers, touch_worker.queues) > 0 then
        perform aiserv._check_names('providers', touch_worker.providers);
        perform aiserv._check_names('queues', touch_worker.queues);
    end if;
    if (char_length(touch_worker.worker_id) between 1 and 200) is not true then
        raise exception using errcode = 'JV400', message = 'worker_id: must have 1 to 200 characters';
    end if;

    -- Somebody of the same name is writing it, in a transaction that may take its time: nobody waits for that.
    if not pg_try_advisory_xact_lock(hashtextextended(instance::text, 0)) then
        return instance;
    end if;
    insert into aiserv.worker as worker (
        instance_id, worker_id, kind, task_types, model_profiles, providers, queues, slots, owner_service, started_at,
        last_seen_at
    )
    values (
        instance, touch_worker.worker_id, case when touch_worker.instance_id is null then 'http' else 'builtin' end,
        coalesce(touch_worker.task_types, '{}'), coalesce(touch_worker.model_profiles, '{}'), touch_worker.providers,
        touch_worker.queues, touch_worker.slots, touch_worker.owner_service, moment, moment
    )
    on conflict on constraint worker_pkey do update
    set task_types = excluded.task_types,
        model_profiles = excluded.model_profiles,
        providers = excluded.providers,
        queues = excluded.queues,
        slots = excluded.slots,
        owner_service = excluded.owner_service,
        -- Later than now is what _follow_clock looks for, and sets right.
        last_seen_at = greatest(worker.last_seen_at, excluded.last_seen_at);
    return instance;
end;
$$;

comment on function aiserv.touch_worker is
'Say that a worker is alive and what it takes; claim_jobs does it by itself. Written at most every 10 seconds for the same facts.
Returns its instance: the one given, or for a worker over HTTP or psql one made of its name and of the owner_service that it works
for, if for one alone. Raises JV400 (worker_id of 1 to 200 characters, malformed providers or queues: claim_jobs says what they
are).';
