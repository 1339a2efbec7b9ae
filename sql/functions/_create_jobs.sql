create or replace function aiserv._create_jobs(
    items    aiserv._new_job[],
    batch_id uuid default null
)
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
    created_at timestamptz := clock_timestamp();
    fresh      uuid[];
    job_ids    uuid[];
begin
    fresh := aiserv._new_ids(created_at, cardinality(_create_jobs.items));
    job_ids := fresh;
    if exists (select from unnest(_create_jobs.items) as item where item.idempotency_key is not null) then
        job_ids := aiserv._reserve_keys(_create_jobs.items, fresh);
    end if;
    -- After the keys: what is there already needs no room.
    if concat(current_setting('aiserv.max_pending', true), current_setting('aiserv.max_pending_per_owner', true)) <> '' then
        perform aiserv._check_room(array(
            select item.owner_service
            from unnest(_create_jobs.items) with ordinality as item
            where job_ids[item.ordinality] = fresh[item.ordinality]
        ));
    end if;

    -- In one statement from the same rows, each job new and each in one place: there is nothing for _guard_place to look up.
    perform set_config('aiserv.creating', 'yes', true);
    with created as (
        insert into aiserv.job (
            id, owner_service, owner_ref, task_type, model_profile, priority, input, input_bytes, metadata, max_attempts,
            timeout_seconds, idempotency_key, batch_id, traceparent, created_at, run_at, updated_at
        )
        select
            fresh[item.ordinality], item.owner_service, item.owner_ref, item.task_type, item.model_profile, item.priority,
            item.input, octet_length(item.input::text), item.metadata, item.max_attempts, item.timeout_seconds,
            item.idempotency_key, _create_jobs.batch_id, item.traceparent, created_at,
            coalesce(item.run_at, created_at + item.delay, created_at), created_at
        from unnest(_create_jobs.items) with ordinality as item
        where job_ids[item.ordinality] = fresh[item.ordinality]
        returning
            job.id, job.model_profile, job.task_type, job.priority, job.owner_service, job.run_at, job.input_bytes
    ),
    counted as (
        insert into aiserv.delta (minute, owner_service, task_type, model_profile, total)
        select date_trunc('minute', created_at, 'UTC'), created.owner_service, created.task_type, created.model_profile, count(*)
        from created
        group by created.owner_service, created.task_type, created.model_profile
    ),
    due as (
        insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
        select
            created.model_profile, created.task_type, created.priority, created.owner_service, created.run_at, created.id,
            created.input_bytes
        from created
        where created.run_at <= created_at
    )
    insert into aiserv.scheduled (model_profile, task_type, run_at, job_id, priority, owner_service, input_bytes)
    select
        created.model_profile, created.task_type, created.run_at, created.id, created.priority, created.owner_service,
        created.input_bytes
    from created
    where created.run_at > created_at;
    perform set_config('aiserv.creating', '', true);

    return job_ids;
end;
$$;

comment on function aiserv._create_jobs is
'Store the checked jobs that are not there yet and return the id of each item''s job, in order. Raises JV400, JK422 and JQ429.';
