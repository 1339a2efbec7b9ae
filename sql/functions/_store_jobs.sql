create or replace function aiserv._store_jobs(
    jobs        json,
    defaults    json,
    batch_id    uuid,
    moment      timestamptz,
    new_ids     uuid[],
    shows       boolean,
    plain       boolean,
    out ids     uuid[],
    out created aiserv.jobs[]
)
language plpgsql
set search_path = pg_temp
as $$
declare
    micros   bigint := extract(epoch from _store_jobs.moment) * 1000000;
    is_later boolean;
begin
    -- From the same rows, each job new and each in one place: there is nothing for _guard_place to look up.
    perform set_config('aiserv.creating', 'yes', true);
    with made as (
        insert into aiserv.job as job (
            id, owner_service, owner_ref, task_type, model_profile, priority, input, input_bytes, metadata, max_attempts,
            timeout_seconds, idempotency_key, batch_id, traceparent, created_at, run_at, updated_at
        )
        select
            coalesce(_store_jobs.new_ids[sent.place], aiserv._id_at(micros + sent.place)),
            -- Null, which is refused, for what makes no sense.
            case when sent.is_sound then (sent.item).owner_service end, (sent.item).owner_ref, (sent.item).task_type,
            (sent.item).model_profile, (sent.item).priority, (sent.item).input, octet_length((sent.item).input::text),
            (sent.item).metadata, (sent.item).max_attempts, (sent.item).timeout_seconds, (sent.item).idempotency_key,
            _store_jobs.batch_id, (sent.item).traceparent, _store_jobs.moment,
            coalesce((sent.item).run_at, _store_jobs.moment + (sent.item).delay, _store_jobs.moment), _store_jobs.moment
        from aiserv._sent_jobs(_store_jobs.jobs, _store_jobs.defaults, _store_jobs.plain) as sent
        where _store_jobs.new_ids is null or _store_jobs.new_ids[sent.place] is not null
        returning
            job.id, job.owner_service, job.owner_ref, job.task_type, job.model_profile, job.priority,
            case when _store_jobs.shows then job.input end as input, job.input_bytes, job.metadata, job.max_attempts,
            job.timeout_seconds, job.idempotency_key, job.traceparent, job.run_at
    ),
    counted as (
        insert into aiserv.delta (minute, owner_service, task_type, model_profile, total)
        select date_bin('1 minute', _store_jobs.moment, 'epoch'), made.owner_service, made.task_type, made.model_profile, count(*)
        from made
        group by made.owner_service, made.task_type, made.model_profile
    ),
    due as (
        insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
        select
            made.model_profile, made.task_type, made.priority, made.owner_service, made.run_at, made.id, made.input_bytes
        from made
        where made.run_at <= _store_jobs.moment
    )
    -- In the order of the items without a sort: one row after the other is read from the array, stored and returned.
    select
        array_agg(made.id), bool_or(made.run_at > _store_jobs.moment),
        array_agg(
            row(
                made.id, made.owner_service, made.owner_ref, made.task_type, made.model_profile, 'pending', made.priority,
                made.input, null, null, made.metadata, null, null, null, 0, 0, made.max_attempts, null, made.idempotency_key,
                _store_jobs.batch_id, made.traceparent, made.run_at, null, made.timeout_seconds, _store_jobs.moment,
                _store_jobs.moment, null, null
            )::aiserv.jobs
        ) filter (where _store_jobs.shows)
    into ids, is_later, created
    from made;

    -- In a statement of its own, which those that run at once do not pay for.
    if is_later then
        insert into aiserv.scheduled (model_profile, task_type, run_at, job_id, priority, owner_service, input_bytes)
        select
            job.model_profile, job.task_type, job.run_at, job.id, job.priority, job.owner_service, job.input_bytes
        from aiserv.job as job
        where job.id = any(ids) and job.run_at > _store_jobs.moment;
    end if;
    perform set_config('aiserv.creating', '', true);
end;
$$;

comment on function aiserv._store_jobs is
'Store the items: all of them, or those that have a new id. Returns their ids in input order and, if asked, the jobs as they are
now.
Raises a data exception or a null violation for what makes no sense: _complaint_about says what.';
