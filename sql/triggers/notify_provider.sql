create or replace function aiserv._notify_provider()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    perform pg_notify('aiserv_ready', profile.name)
    from (
        select old.name
        union
        select serving.model_profile from aiserv._serving as serving where serving.provider = old.name
    ) as profile(name);
    return null;
end;
$$;

comment on function aiserv._notify_provider is
'Tell workers that the queues of a provider give again: all of it, or the next probe.';

create or replace trigger _200_notify_well
after delete on aiserv.provider
for each row
execute function aiserv._notify_provider();

create or replace trigger _200_notify_unprobed
after update on aiserv.provider
for each row
when (old.probe_job_id is not null and new.probe_job_id is null)
execute function aiserv._notify_provider();
