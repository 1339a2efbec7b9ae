create or replace view aiserv.providers as
select
    provider.name,
    provider.category,
    provider.message,
    provider.pauses,
    provider.since,
    provider.paused_until,
    lease.job_id as probe_job_id,
    lease.worker_id as probe_worker_id
from aiserv.provider as provider
left join aiserv.lease as lease on lease.job_id = provider.probe_job_id and lease.attempt = provider.probe_attempt;

comment on view aiserv.providers is 'The providers in trouble; one that is well is not listed.';
comment on column aiserv.providers.name is 'The provider: for chat it has the name of its model profile.';
comment on column aiserv.providers.category is 'What kind of trouble, one word.';
comment on column aiserv.providers.message is 'What kind of trouble, in a sentence.';
comment on column aiserv.providers.pauses is 'The how many-th pause this is since it was last well.';
comment on column aiserv.providers.since is 'When the trouble began.';
comment on column aiserv.providers.paused_until is 'Until when it is left alone; then a single job probes it.';
comment on column aiserv.providers.probe_job_id is 'The job that probes it now.';
comment on column aiserv.providers.probe_worker_id is 'The worker that runs this job.';
