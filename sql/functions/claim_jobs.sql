create or replace function aiserv.claim_jobs(
    worker_id      text,
    task_types     text[]   default null,
    model_profiles text[]   default null,
    max_jobs       integer  default 1,
    lease          interval default '15 minutes',
    claim_id       text     default null,
    instance_id    uuid     default null,
    slots          integer  default null,
    providers      jsonb    default null,
    queues         jsonb    default null,
    owner_service  text     default null,
    recover        boolean  default true
)
returns setof aiserv.jobs
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
    complaint text := aiserv._claim_complaint(claim_jobs.worker_id, claim_jobs.max_jobs, claim_jobs.lease, claim_jobs.claim_id);
    claimer   aiserv._claimer;
    repeated  uuid[];
    claimed   record;
    leased    aiserv.jobs;
begin
    if complaint is not null then
        raise exception using errcode = 'JV400', message = complaint;
    end if;
    claimer := (
        claim_jobs.worker_id,
        aiserv.touch_worker(
            claim_jobs.worker_id, claim_jobs.task_types, claim_jobs.model_profiles, claim_jobs.instance_id, claim_jobs.slots,
            claim_jobs.providers, claim_jobs.queues, claim_jobs.owner_service
        ),
        claim_jobs.claim_id, claim_jobs.lease, claim_jobs.providers, claim_jobs.queues,
        claim_jobs.owner_service
    );

    -- A repeat of a claim whose answer was lost on the way; it may come while the first one still runs. It makes a new
    -- version of each job: whoever was to give back what nobody heard of does not, now that somebody has.
    if claim_jobs.claim_id is not null then
        perform pg_advisory_xact_lock(hashtextextended(claim_jobs.claim_id, hashtext(claim_jobs.worker_id)));
        repeated := array(
            select lease.job_id
            from aiserv.lease as lease
            where lease.worker_id = claim_jobs.worker_id and lease.claim_id = claim_jobs.claim_id
              and (claim_jobs.owner_service is null or lease.owner_service = claim_jobs.owner_service)
            order by lease.job_id
            for update
        );
        update aiserv.lease as lease
        set lease_expires_at = aiserv._expiry(lease.lease_expires_at, lease.updated_at),
            updated_at = clock_timestamp()
        where lease.job_id = any(repeated);
        if found then
            return query
            select job.*
            from unnest(repeated) with ordinality as claim(job_id, position)
            cross join lateral (select shown.* from aiserv.jobs as shown where shown.id = claim.job_id limit 1) as job
            order by claim.position;
            return;
        end if;
    end if;

    claimed := aiserv._claim(
        claim_jobs.task_types, claim_jobs.model_profiles, claim_jobs.max_jobs, claimer, claim_jobs.recover
    );
    foreach leased in array coalesce(claimed.jobs, '{}') loop
        if leased.input is null then
            leased.input := (select job.input from aiserv.job as job where job.id = leased.id);
        end if;
        return next leased;
    end loop;
end;
$$;

comment on function aiserv.claim_jobs is
'Give up to max_jobs due jobs to a worker, each under a lease: highest priority first, owners in turns, within an owner the earliest
run_at, then id; beside a long transaction a job that came back may wait five seconds more. Missing or empty task_types and
model_profiles mean any. A paused or full queue gives none.
The attempt of a job returned is the token that complete_job, fail_job, release_job and heartbeat_job want.
A repeat with the same worker_id and claim_id returns what still runs of that claim, each job at a new version. A claim that comes
back short recovers expired leases first, unless recover is false. instance_id tells workers of one worker_id apart, slots is how
many jobs at once it can do: list_workers shows both. A queue all of whose providers are in trouble gives none while they pause,
then single probes; providers names those of a model profile, as {"whisperx": ["whisperx", "qwen2-audio"]}; one that nobody names
has one provider, of its own name. queues names the task types of the profiles that do not go with all of them, as
{"whisperx": ["transcription"]}.
With owner_service only jobs of that owner are given. Raises JV400 (worker_id of 1 to 200 characters, max_jobs 0 to 1000, lease 1
second to 24 hours, malformed providers or queues).';
