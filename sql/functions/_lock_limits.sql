create or replace function aiserv._lock_limits(model_profiles text[])
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    moment timestamptz;
begin
    perform
    from aiserv.queue_setting as setting
    where coalesce(cardinality(_lock_limits.model_profiles), 0) = 0 or setting.model_profile = any(_lock_limits.model_profiles)
    order by setting.model_profile, setting.task_type
    for update;
    moment := clock_timestamp();

    -- Buckets fill with time, up to one minute's worth, and with none when the clock was set back. Each row is written, full or
    -- not: a claim in a transaction with an older snapshot must fail and not count from it.
    update aiserv.queue_setting as setting
    set request_balance = least(
            setting.requests_per_minute,
            setting.request_balance
                + setting.requests_per_minute * extract(epoch from greatest(moment - setting.refilled_at, interval '0')) / 60
        ),
        token_balance = least(
            setting.tokens_per_minute,
            setting.token_balance
                + setting.tokens_per_minute * extract(epoch from greatest(moment - setting.refilled_at, interval '0')) / 60
        ),
        refilled_at = moment
    where coalesce(cardinality(_lock_limits.model_profiles), 0) = 0 or setting.model_profile = any(_lock_limits.model_profiles);
end;
$$;

comment on function aiserv._lock_limits is
'Hold the settings of these profiles (none or null: of all), so that claims of limited queues go one after the other, and fill up
their rates.';
