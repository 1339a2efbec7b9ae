create or replace view aiserv._serving as
select distinct profile.name as model_profile, provider.name as provider
from aiserv.worker as worker
cross join lateral jsonb_each(worker.providers) as profile(name, providers)
cross join lateral jsonb_array_elements_text(profile.providers) as provider(name)
where worker.last_seen_at > clock_timestamp() - interval '75 seconds';

comment on view aiserv._serving is
'The providers of model profiles as live workers name them. A profile of which nobody said any has one, of its own name.';
comment on column aiserv._serving.model_profile is 'The model profile.';
comment on column aiserv._serving.provider is 'One of its providers.';
