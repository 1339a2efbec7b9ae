create or replace function aiserv._hold_settings(model_profile text)
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    perform pg_advisory_xact_lock(aiserv._settings_key(null));
    perform pg_advisory_xact_lock(aiserv._settings_key(_hold_settings.model_profile));
end;
$$;

comment on function aiserv._hold_settings is
'Wait for the claims that may not have seen the settings of this profile, and keep others from beginning, until the transaction
ends. Before any row of settings is locked: claims take these locks first, too.';
