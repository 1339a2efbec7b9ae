create or replace function aiserv._settings_key(model_profile text)
returns bigint
language sql
immutable
set search_path = ''
as $$
    select hashtextextended(_settings_key.model_profile, hashtext('aiserv.queue_setting'));
$$;

comment on function aiserv._settings_key is
'The advisory lock of the settings of a model profile: claims share it, set_queue wants it alone, until the transaction ends.';
