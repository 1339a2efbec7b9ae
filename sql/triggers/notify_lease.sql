create or replace function aiserv._notify_lease()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    perform pg_notify('aiserv_scheduled', short.model_profile)
    from (select distinct moved.model_profile from moved where moved.lease < interval '45 seconds') as short;
    return null;
end;
$$;

comment on function aiserv._notify_lease is
'Announce leases so short that they could run out between two regular looks, which come every 30 seconds; longer ones cost nothing.';

create or replace trigger _200_notify_lease
after insert on aiserv.lease
referencing new table as moved
for each statement
execute function aiserv._notify_lease();
