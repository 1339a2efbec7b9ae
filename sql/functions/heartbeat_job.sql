create or replace function aiserv.heartbeat_job(
    job_id    uuid,
    attempt   integer  default null,
    worker_id text     default null,
    lease     interval default null,
    progress  json     default null
)
returns aiserv.jobs
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
    answer aiserv.settlement;
begin
    if not (heartbeat_job.lease between interval '1 second' and interval '24 hours') then
        raise exception using errcode = 'JV400', message = 'lease: must be from 1s to 24h';
    elsif octet_length(heartbeat_job.progress::text) > 1048576 then
        raise exception using errcode = 'JV400', message = 'progress: must have at most 1 MiB';
    elsif not aiserv._is_storable(heartbeat_job.progress) then
        raise exception using errcode = 'JV400', message = 'progress: must not contain \u0000 or a lone surrogate';
    end if;

    update aiserv.lease as held
    set lease_expires_at = greatest(
            aiserv._expiry(held.lease_expires_at, held.updated_at),
            clock_timestamp() + coalesce(heartbeat_job.lease, held.lease)
        ),
        updated_at = clock_timestamp(),
        progress = coalesce(heartbeat_job.progress, held.progress)
    where held.job_id = heartbeat_job.job_id
      and held.attempt = coalesce(heartbeat_job.attempt, held.attempt)
      and held.worker_id = coalesce(heartbeat_job.worker_id, held.worker_id);

    if found then
        answer.id := heartbeat_job.job_id;
    else
        answer := aiserv._settlement(
            heartbeat_job.job_id, heartbeat_job.attempt, heartbeat_job.worker_id, repeated => false
        );
    end if;
    return aiserv._answer(answer);
end;
$$;

comment on function aiserv.heartbeat_job is
'Renew the lease of a running job and, if given, show progress. lease is how long from now; without it as long as claimed for.
A lease never gets shorter.
Raises JN404 (no such job), JL409 (attempt or worker no longer holds it: stop), JS409 (it is not running), JV400 (lease or progress
out of range).';
