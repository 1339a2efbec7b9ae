create or replace function aiserv._store_jobs(
    items    aiserv._new_job[],
    fresh    uuid[],
    job_ids  uuid[],
    batch_id uuid,
    moment   timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
    -- In one statement from the same rows, each job new and each in one place: there is nothing for _guard_place to look up.
    perform set_config('aiserv.creating', 'yes', true);
    with created as (
        insert into aiserv.job (
            id, owner_service, owner_ref, task_type, model_profile, priority, input, input_bytes, metadata, max_attempts,
            timeout_seconds, idempotency_key, batch_id, traceparent, created_at, run_at, updated_at
        )
        select
            _store_jobs.fresh[item.ordinality], item.owner_service, item.owner_ref, item.task_type, item.model_profile, item.priority,
            item.input, octet_length(item.input::text), item.metadata, item.max_attempts, item.timeout_seconds,
            item.idempotency_key, _store_jobs.batch_id, item.traceparent, _store_jobs.moment,
            coalesce(item.run_at, _store_jobs.moment + item.delay, _store_jobs.moment), _store_jobs.moment
        from unnest(_store_jobs.items) with ordinality as item
        where _store_jobs.job_ids[item.ordinality] = _store_jobs.fresh[item.ordinality]
        returning
            job.id, job.model_profile, job.task_type, job.priority, job.owner_service, job.run_at, job.input_bytes
    ),
    counted as (
        insert into aiserv.delta (minute, owner_service, task_type, model_profile, total)
        select date_trunc('minute', _store_jobs.moment, 'UTC'), created.owner_service, created.task_type, created.model_profile, count(*)
        from created
        group by created.owner_service, created.task_type, created.model_profile
    ),
    due as (
        insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
        select
            created.model_profile, created.task_type, created.priority, created.owner_service, created.run_at, created.id,
            created.input_bytes
        from created
        where created.run_at <= _store_jobs.moment
    )
    insert into aiserv.scheduled (model_profile, task_type, run_at, job_id, priority, owner_service, input_bytes)
    select
        created.model_profile, created.task_type, created.run_at, created.id, created.priority, created.owner_service,
        created.input_bytes
    from created
    where created.run_at > _store_jobs.moment;
    perform set_config('aiserv.creating', '', true);
end;
$$;

comment on function aiserv._store_jobs is
'Store those of the checked jobs that are new: whose id is still the fresh one. The others an idempotency key found, or are refused.';
