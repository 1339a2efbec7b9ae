create or replace function aiserv._services(
    model_profiles text[],
    task_types     text[],
    providers      jsonb
)
returns aiserv._service[]
language plpgsql
set search_path = pg_temp
as $$
declare
    services aiserv._service[];
    names    text[];
begin
    select array_agg((profile.name, served.provider, known.name is not null, false)::aiserv._service) into services
    from (select distinct unnest(_services.model_profiles)) as profile(name)
    cross join lateral aiserv._providers_of(profile.name, _services.providers) as served(provider)
    left join aiserv.provider as known on known.name = served.provider;

    -- Looked at before it is locked: who cannot probe must not hold up the end of a probe.
    names := aiserv._unprobed(array(
        select service.provider
        from unnest(services) as service
        where service.in_trouble
          and exists (
            select
            from unnest(_services.model_profiles, _services.task_types) as queue(model_profile, task_type)
            join aiserv.ready as ready on ready.queue_key = aiserv._queue_key(queue.model_profile, queue.task_type)
            where queue.model_profile = service.model_profile
        )
    ));
    names := array(
        select provider.name
        from aiserv.provider as provider
        where provider.name = any(names)
        order by provider.name
        for update skip locked
    );
    -- Once more, in a statement of its own: another claim may have sent a probe before the lock was ours.
    names := aiserv._unprobed(names);

    return array(
        select (service.model_profile, service.provider, service.in_trouble, service.provider = any(names))::aiserv._service
        from unnest(services) as service
    );
end;
$$;

comment on function aiserv._services is
'The providers of these queues, which of them are in trouble, and which the caller may probe: it holds their rows, and the probe is
the next job that it takes.';
