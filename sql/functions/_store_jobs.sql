create or replace function aiserv._store_jobs(
    jobs        json,
    defaults    json     default null,
    batch_id    uuid     default null,
    patience    interval default null,
    has_keys    boolean  default null,
    shows       boolean  default true,
    plain       boolean  default false,
    out job_ids uuid[],
    out new_ids uuid[],
    out created aiserv.jobs[]
)
language plpgsql
set search_path = pg_temp
as $$
declare
    moment   timestamptz := clock_timestamp();
    micros   bigint      := extract(epoch from moment) * 1000000;
    names    text        := case when _store_jobs.has_keys is null then concat(_store_jobs.jobs, _store_jobs.defaults) end;
    reserved uuid[];
    is_later boolean;
begin
    -- The name of a field may be written with escapes.
    if coalesce(_store_jobs.has_keys, strpos(names, 'idempotency_key') > 0 or strpos(names, '\u00') > 0) then
        select known.job_ids, known.new_ids into reserved, new_ids
        from aiserv._reserve_jobs(_store_jobs.jobs, _store_jobs.defaults, moment, _store_jobs.patience) as known;
    end if;

    -- After the keys: what is there already needs no room.
    if concat(current_setting('aiserv.max_pending', true), current_setting('aiserv.max_pending_per_owner', true)) <> '' then
        perform aiserv._check_room(_store_jobs.jobs, _store_jobs.defaults, new_ids);
    end if;

    -- From the same rows, each job new and each in one place: there is nothing for _guard_place to look up.
    perform set_config('aiserv.creating', 'yes', true);
    with made as (
        insert into aiserv.job as job (
            id, owner_service, owner_ref, task_type, model_profile, priority, input, input_bytes, metadata, max_attempts,
            timeout_seconds, idempotency_key, batch_id, traceparent, created_at, run_at, updated_at
        )
        select
            coalesce(new_ids[sent.place], aiserv._id_at(micros + sent.place)),
            -- Null, which is refused, for what makes no sense.
            case when sent.is_sound then (sent.item).owner_service end, (sent.item).owner_ref, (sent.item).task_type,
            (sent.item).model_profile, (sent.item).priority, (sent.item).input, octet_length((sent.item).input::text),
            (sent.item).metadata, (sent.item).max_attempts, (sent.item).timeout_seconds, (sent.item).idempotency_key,
            _store_jobs.batch_id, (sent.item).traceparent, moment,
            coalesce((sent.item).run_at, moment + (sent.item).delay, moment), moment
        from aiserv._sent_jobs(_store_jobs.jobs, _store_jobs.defaults, _store_jobs.plain) as sent
        where new_ids is null or new_ids[sent.place] is not null
        returning
            job.id, job.owner_service, job.owner_ref, job.task_type, job.model_profile, job.priority,
            case when _store_jobs.shows then job.input end as input, job.input_bytes, job.metadata, job.max_attempts,
            job.timeout_seconds, job.idempotency_key, job.traceparent, job.run_at
    ),
    counted as (
        insert into aiserv.delta (minute, owner_service, task_type, model_profile, total)
        select date_bin('1 minute', moment, 'epoch'), made.owner_service, made.task_type, made.model_profile, count(*)
        from made
        group by made.owner_service, made.task_type, made.model_profile
    ),
    due as (
        insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
        select
            made.model_profile, made.task_type, made.priority, made.owner_service, made.run_at, made.id, made.input_bytes
        from made
        where made.run_at <= moment
    )
    -- In the order of the items without a sort: one row after the other is read from the array, stored and returned.
    select
        array_agg(made.id), bool_or(made.run_at > moment),
        array_agg(
            row(
                made.id, made.owner_service, made.owner_ref, made.task_type, made.model_profile, 'pending', made.priority,
                made.input, null, null, made.metadata, null, null, null, 0, 0, made.max_attempts, null, made.idempotency_key,
                _store_jobs.batch_id, made.traceparent, made.run_at, null, made.timeout_seconds, moment,
                moment, null, null
            )::aiserv.jobs
        ) filter (where _store_jobs.shows)
    into job_ids, is_later, created
    from made;

    -- In a statement of its own, which those that run at once do not pay for.
    if is_later then
        insert into aiserv.scheduled (model_profile, task_type, run_at, job_id, priority, owner_service, input_bytes)
        select
            job.model_profile, job.task_type, job.run_at, job.id, job.priority, job.owner_service, job.input_bytes
        from aiserv.job as job
        where job.id = any(job_ids) and job.run_at > moment;
    end if;
    perform set_config('aiserv.creating', '', true);

    if array_position(new_ids, null) is not null then
        job_ids := reserved;
        if _store_jobs.shows then
            created := aiserv._known_jobs(job_ids);
            if created is null then
                -- The jobs of keys that were known a moment ago have been deleted since: now the keys are free.
                select again.job_ids, again.new_ids, again.created into job_ids, new_ids, created
                from aiserv._store_jobs(
                    _store_jobs.jobs, _store_jobs.defaults, _store_jobs.batch_id, _store_jobs.patience, _store_jobs.has_keys,
                    plain => _store_jobs.plain
                ) as again;
            end if;
        end if;
    end if;
end;
$$;

comment on function aiserv._store_jobs is
'Store the items, but those whose idempotency key has made a job already, and return in input order the id of each one''s job; the
ids of those that are new, null where none has a key; and, if shows, the jobs as they are now. Waits no longer than patience for a
transaction that holds a key. has_keys says whether any item has one, where that is known; plain as in _sent_jobs.
Raises JK422, JQ429, 55P03, and a data exception or a null violation for what makes no sense: _complaint_about says what.';
