create or replace function aiserv._lock_limits(model_profiles text[])
returns void
language plpgsql
set search_path = ''
as $$
declare
    moment timestamptz := clock_timestamp();
begin
    perform
    from aiserv.queue_setting as setting
    where setting.model_profile = any(_lock_limits.model_profiles)
    order by setting.model_profile, setting.task_type
    for update;

    -- Buckets fill with time, up to one minute's worth.
    update aiserv.queue_setting as setting
    set request_balance = least(
            setting.requests_per_minute,
            setting.request_balance + setting.requests_per_minute * extract(epoch from moment - setting.refilled_at) / 60
        ),
        token_balance = least(
            setting.tokens_per_minute,
            setting.token_balance + setting.tokens_per_minute * extract(epoch from moment - setting.refilled_at) / 60
        ),
        refilled_at = moment
    where setting.model_profile = any(_lock_limits.model_profiles)
      and (setting.requests_per_minute is not null or setting.tokens_per_minute is not null);
end;
$$;

comment on function aiserv._lock_limits is
'Hold the settings of these profiles, so that claims of limited queues go one after the other, and fill up their rates.';
