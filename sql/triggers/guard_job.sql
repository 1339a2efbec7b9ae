create or replace function aiserv._guard_job()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        raise exception using
            errcode = 'JS409',
            message = format('job %s is not finished', old.id),
            hint = 'Only finished jobs are deleted: cancel it first.';
    end if;
    raise exception using
        errcode = 'JS409',
        message = format('job %s is %s', old.id, coalesce(old.outcome, 'not finished')),
        detail = 'What was asked never changes, attempts only grow, and a finished job stays as it is; a failed one may be retried.';
end;
$$;

comment on function aiserv._guard_job is
'Refuse changes that no transition makes, also by hand. Fires only where its triggers'' conditions hold.';

-- After the change, which is the same to whoever is refused: before it, each row would be locked first, and that be written to WAL.
create or replace trigger _100_guard_finished
after update on aiserv.job
for each row
when (new.attempt < old.attempt or old.outcome is not null and not (old.outcome = 'failed' and new.outcome is null))
execute function aiserv._guard_job();

create or replace trigger _110_guard_request
after update of
    id, owner_service, owner_ref, task_type, model_profile, priority, input, input_bytes, metadata, max_attempts,
    timeout_seconds, idempotency_key, batch_id, traceparent, created_at
on aiserv.job
for each row
execute function aiserv._guard_job();

create or replace trigger _120_guard_delete
before delete on aiserv.job
for each row
when (old.outcome is null)
execute function aiserv._guard_job();
