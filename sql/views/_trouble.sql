create or replace view aiserv._trouble as
select
    served.model_profile,
    min(provider.paused_until) as paused_until,
    min(provider.paused_until) filter (where lease.job_id is null) as probe_at,
    (
        array_agg(format('provider %s: %s: %s', provider.name, provider.category, provider.message) order by provider.paused_until)
    )[1] as reason
from (
    select serving.model_profile, serving.provider
    from aiserv._serving as serving
    union all
    select provider.name, provider.name
    from aiserv.provider as provider
    where not exists (select from aiserv._serving as serving where serving.model_profile = provider.name)
) as served
left join aiserv.provider as provider on provider.name = served.provider
left join aiserv.lease as lease on lease.job_id = provider.probe_job_id and lease.attempt = provider.probe_attempt
group by served.model_profile
having bool_and(provider.name is not null);

comment on view aiserv._trouble is 'The model profiles all of whose providers are in trouble: their queues give single probes and nothing else.';
comment on column aiserv._trouble.model_profile is 'The model profile.';
comment on column aiserv._trouble.paused_until is 'When the first of the pauses ends.';
comment on column aiserv._trouble.probe_at is 'When the next probe may go; null while all of them are under way.';
comment on column aiserv._trouble.reason is 'What the provider said whose pause ends first.';
