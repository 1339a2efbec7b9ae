create or replace function aiserv._send_probes(
    job_ids  uuid[],
    services aiserv._service[]
)
returns aiserv._service[]
language plpgsql
set search_path = pg_temp
as $$
declare
    probed text[];
begin
    if not exists (select from unnest(_send_probes.services) as service where service.may_probe) then
        return _send_probes.services;
    end if;

    with sent as (
        update aiserv.provider as provider
        set probe_job_id = probe.job_id,
            probe_attempt = probe.attempt
        from (
            select distinct on (service.provider) service.provider, lease.job_id, lease.attempt
            from unnest(_send_probes.services) as service
            join aiserv.lease as lease on lease.job_id = any(_send_probes.job_ids) and lease.model_profile = service.model_profile
            where service.may_probe
            order by service.provider, lease.job_id
        ) as probe
        where provider.name = probe.provider
        returning provider.name
    )
    select coalesce(array_agg(sent.name), '{}') into probed from sent;

    return array(
        select (
            service.model_profile, service.provider, service.in_trouble, service.may_probe and service.provider <> all(probed)
        )::aiserv._service
        from unnest(_send_probes.services) as service
    );
end;
$$;

comment on function aiserv._send_probes is
'Let jobs that were just claimed be the probes of the providers that the claim may probe; returns what is left to be probed.';
