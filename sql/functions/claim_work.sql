create or replace function aiserv.claim_work(
    worker_id      text,
    instance_id    uuid,
    task_types     text[],
    model_profiles text[],
    max_jobs       integer,
    lease          interval,
    slots          integer,
    providers      jsonb   default null,
    queues         jsonb   default null,
    is_known       boolean default false
)
returns table (
    due_in           double precision,
    id               uuid,
    owner_service    text,
    task_type        text,
    model_profile    text,
    attempt          integer,
    timeout_seconds  double precision,
    traceparent      text,
    input            json,
    run_at           timestamptz,
    started_at       timestamptz,
    lease_expires_at timestamptz
)
language plpgsql
security definer
set search_path = pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
as $$
declare
    complaint text := coalesce(
        aiserv._claim_complaint(claim_work.worker_id, claim_work.max_jobs, claim_work.lease),
        case when claim_work.instance_id is null then 'instance_id: must be given' end
    );
    claimed   record;
begin
    if complaint is not null then
        raise exception using errcode = 'JV400', message = complaint;
    end if;
    if not claim_work.is_known then
        -- Once in ten seconds: there may be no server that sweeps.
        perform aiserv._follow_clock();
        perform aiserv.touch_worker(
            claim_work.worker_id, claim_work.task_types, claim_work.model_profiles, claim_work.instance_id, claim_work.slots,
            claim_work.providers, claim_work.queues
        );
    end if;
    claimed := aiserv._claim(
        claim_work.task_types, claim_work.model_profiles, claim_work.max_jobs,
        (
            claim_work.worker_id, claim_work.instance_id, null, claim_work.lease, claim_work.providers, claim_work.queues, null
        )::aiserv._claimer,
        recover => true
    );
    claim_work.due_in := aiserv.seconds_until(claimed.wake_at);
    if claimed.jobs is null then
        return next;
        return;
    end if;
    return query
    select
        claim_work.due_in, leased.id, leased.owner_service, leased.task_type, leased.model_profile, leased.attempt, leased.timeout_seconds,
        leased.traceparent,
        coalesce(leased.input, (select job.input from aiserv.job as job where job.id = any(array[leased.id]))),
        leased.run_at, leased.started_at, leased.lease_expires_at
    from unnest(claimed.jobs) as leased;
end;
$$;

comment on function aiserv.claim_work is
'As claim_jobs, for a worker that stays: it gets of each job what it takes to run it, and in due_in in how many seconds to look
again though nobody calls; null when it got as many as it asked for, or there is no reason to. Without a job that is all of one row.
With is_known it has said in the last ten seconds or so who it is, and does not again. Raises JV400 as claim_jobs, and without
instance_id.';
