create or replace function aiserv.check_queue_version(
    model_profile text,
    task_type     text,
    versions      text[]
)
returns text
language plpgsql
security definer
set search_path = pg_temp
as $$
declare
    actual  aiserv.queue;
    version text;
begin
    if check_queue_version.versions is null then
        return check_queue_version.model_profile;
    end if;

    -- First what set_queue takes first; and a version of 0 has no row to hold.
    perform aiserv._hold_settings(check_queue_version.model_profile);
    select setting.updated_at into actual.updated_at
    from aiserv.queue_setting as setting
    where setting.model_profile = check_queue_version.model_profile
      and setting.task_type = coalesce(check_queue_version.task_type, '')
    for update;
    version := aiserv.queue_version(actual);

    if not version = any(check_queue_version.versions) then
        raise exception using
            errcode = 'JP412',
            message = 'the settings of the queue have changed',
            detail = format('Their version is %s.', version),
            hint = 'Read the queue again and decide anew.';
    end if;
    return check_queue_version.model_profile;
end;
$$;

comment on function aiserv.check_queue_version is
'The model profile, if queue_version gives one of these for its settings, which then stay as they are until the end of the
transaction; or, when versions is null, without a look. Raises JP412 (they have changed).';
