create or replace function aiserv._notify_ready()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    perform pg_notify('aiserv_ready', changed.model_profile) from (select distinct moved.model_profile from moved) as changed;
    return null;
end;
$$;

comment on function aiserv._notify_ready is
'Tell workers that something of a model profile became claimable: once a statement and profile.';

create or replace trigger _200_notify_ready
after insert on aiserv.ready
referencing new table as moved
for each statement
execute function aiserv._notify_ready();
