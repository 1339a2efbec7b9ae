create or replace function aiserv._changed_settings(
    before aiserv.queue_setting,
    now    aiserv.queue_setting
)
returns jsonb
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    moment timestamptz := clock_timestamp();
    -- As the view shows it: paused is also what has an end that is still to come.
    known  jsonb := to_jsonb(before) || jsonb_build_object('paused', before.paused or coalesce(before.paused_until > moment, false));
    shown  jsonb := to_jsonb(now) || jsonb_build_object('paused', now.paused or coalesce(now.paused_until > moment, false));
begin
    return (
        select coalesce(jsonb_object_agg(setting.name, jsonb_build_object('from', known -> setting.name, 'to', setting.value)), '{}')
        from jsonb_each(shown) as setting(name, value)
        where setting.name in ('paused', 'paused_until', 'pause_reason', 'max_running', 'requests_per_minute', 'tokens_per_minute')
          and setting.value is distinct from known -> setting.name
    );
end;
$$;

comment on function aiserv._changed_settings is 'The pauses and limits that differ: {"max_running": {"from": null, "to": 8}}.';
