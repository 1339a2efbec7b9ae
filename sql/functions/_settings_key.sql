create or replace function aiserv._settings_key(model_profile text)
returns bigint
language sql
immutable
as $$
    select hashtext('aiserv.queue_setting')::bigint * 128 + coalesce(1 + (hashtext(_settings_key.model_profile) & 63), 0);
$$;

comment on function aiserv._settings_key is
'The advisory lock of the settings of a model profile, one of 64 that all profiles share out among them: a claim of any number of
them must not fill the table of locks. Null is the key of claims that name no profile.';
