create or replace function aiserv._unprobed(names text[])
returns text[]
language plpgsql
volatile
set search_path = pg_temp
as $$
begin
    -- A probe is a lease: whatever becomes of its worker, it cannot be left behind.
    return array(
        select provider.name
        from aiserv.provider as provider
        left join aiserv.lease as lease
            on lease.job_id = any(array[provider.probe_job_id]) and lease.attempt = provider.probe_attempt
        where provider.name = any(_unprobed.names) and provider.paused_until <= clock_timestamp() and lease.job_id is null
        order by provider.name
    );
end;
$$;

comment on function aiserv._unprobed is 'Those of the providers whose pause is over and that no running job probes.';
