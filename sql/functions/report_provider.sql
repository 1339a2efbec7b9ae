create or replace function aiserv.report_provider(
    provider    text,
    category    text     default null,
    message     text     default null,
    retry_after interval default null,
    job_id      uuid     default null,
    attempt     integer  default null
)
returns timestamptz
language plpgsql
security definer
set search_path = pg_temp
as $$
declare
    moment timestamptz := clock_timestamp();
    until  timestamptz;
begin
    if (char_length(report_provider.provider) between 1 and 200) is not true then
        raise exception using errcode = 'JV400', message = 'provider: must have 1 to 200 characters';
    end if;
    if report_provider.category is null then
        delete from aiserv.provider as known where known.name = report_provider.provider;
        return null;
    end if;
    perform aiserv._check_failure(report_provider.category, report_provider.message, report_provider.retry_after, null);

    -- Many attempts are under way when trouble begins: the first one counts, and after it the probes do. Of the others holds
    -- what they were told of the time to wait.
    insert into aiserv.provider as known (name, category, message, pauses, since, paused_until)
    values (
        report_provider.provider, report_provider.category, left(report_provider.message, 10000), 1, moment,
        moment + aiserv._provider_pause(1, report_provider.retry_after)
    )
    on conflict on constraint provider_pkey do update
    set category = excluded.category,
        message = excluded.message,
        pauses = known.pauses + 1,
        paused_until = moment + aiserv._provider_pause(known.pauses + 1, report_provider.retry_after),
        probe_job_id = null,
        probe_attempt = null
    where (known.probe_job_id, known.probe_attempt) = (report_provider.job_id, report_provider.attempt)
       or report_provider.job_id is null and known.paused_until <= moment
    returning known.paused_until into until;

    if until is null then
        update aiserv.provider as known
        set paused_until = greatest(known.paused_until, moment + report_provider.retry_after)
        where known.name = report_provider.provider and report_provider.retry_after > interval '0'
        returning known.paused_until into until;
    end if;
    return coalesce(until, (select known.paused_until from aiserv.provider as known where known.name = report_provider.provider));
end;
$$;

comment on function aiserv.report_provider is
'Say that a provider is in trouble, and why: it pauses for all workers, for as long as it asks (retry_after), else ever longer, up
to 10 seconds. A queue all of whose providers pause gives nothing; after the pause it gives one job as a probe, which opens the
queue when it completes. job_id and attempt are those of the run that found out. Without a category: it is well again.
Returns until when it pauses, null when it is well. Raises JV400 (malformed words, retry_after out of range).';
