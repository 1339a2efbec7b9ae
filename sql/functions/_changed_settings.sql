create or replace function aiserv._changed_settings(
    before aiserv.queue_setting,
    now    aiserv.queue_setting
)
returns jsonb
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return (
        select coalesce(
            jsonb_object_agg(setting.name, jsonb_build_object('from', to_jsonb(before) -> setting.name, 'to', setting.value)), '{}'
        )
        from jsonb_each(to_jsonb(now)) as setting(name, value)
        where setting.name in ('paused', 'paused_until', 'pause_reason', 'max_running', 'requests_per_minute', 'tokens_per_minute')
          and setting.value is distinct from to_jsonb(before) -> setting.name
    );
end;
$$;

comment on function aiserv._changed_settings is 'The pauses and limits that differ: {"max_running": {"from": null, "to": 8}}.';
