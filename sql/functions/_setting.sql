create or replace function aiserv._setting(
    model_profile text,
    task_type     text
)
returns aiserv.queue_setting
language plpgsql
set search_path = ''
as $$
declare
    setting aiserv.queue_setting;
begin
    select known.* into setting
    from aiserv.queue_setting as known
    where known.model_profile = _setting.model_profile and known.task_type = coalesce(_setting.task_type, '')
    for update;
    return setting;
end;
$$;

comment on function aiserv._setting is 'The settings of a queue as they are, held until the end of the transaction; null when it has none.';
