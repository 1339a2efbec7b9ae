create or replace function aiserv._settlement(
    job_id    uuid,
    attempt   integer,
    worker_id text,
    repeated  boolean
)
returns aiserv.settlement
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    actual  aiserv.jobs;
    refused aiserv.settlement;
begin
    select job.* into actual from aiserv.jobs as job where job.id = _settlement.job_id;
    refused.id := _settlement.job_id;
    refused.status := actual.status;

    if actual.id is null then
        refused.code := 'JN404';
        refused.detail := format('there is no job %s', _settlement.job_id);
        refused.hint := 'It was never created, or its retention is over.';
    elsif _settlement.repeated then
        null;
    elsif _settlement.attempt is not null or _settlement.worker_id is not null then
        refused.code := 'JL409';
        refused.detail := format(
            '%s does not hold job %s: it is %s at attempt %s',
            coalesce('attempt ' || _settlement.attempt, 'worker ' || _settlement.worker_id), actual.id, actual.status, actual.attempt
        );
        refused.hint := 'Drop the result: another attempt owns the job, or it is already finished.';
    else
        refused.code := 'JS409';
        -- Running by now: it was not a moment ago.
        refused.detail := format('job %s is %s, not running', actual.id, replace(actual.status, 'running', 'pending'));
        refused.hint := 'Only a running job can be completed, failed, released or given a heartbeat.';
    end if;
    return refused;
end;
$$;

comment on function aiserv._settlement is
'Why a settlement took nothing: the job''s status alone when it repeats what the job still shows, else the code of the refusal.';
