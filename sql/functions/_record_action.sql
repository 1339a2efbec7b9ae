create or replace function aiserv._record_action(
    action        text,
    actor         text,
    job_ids       uuid[] default null,
    model_profile text   default null,
    task_type     text   default null,
    changes       jsonb  default null,
    reason        text   default null
)
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    if _record_action.job_ids = '{}' or _record_action.changes = '{}' then
        return;
    end if;
    -- Our functions act as the owner: only the role of the session says who called.
    insert into aiserv.action (acted_at, actor, role, client, action, job_ids, model_profile, task_type, changes, reason)
    values (
        clock_timestamp(), left(_record_action.actor, 200), session_user, inet_client_addr(), _record_action.action,
        _record_action.job_ids, _record_action.model_profile, _record_action.task_type, _record_action.changes,
        left(_record_action.reason, 10000)
    );
end;
$$;

comment on function aiserv._record_action is
'Remember who stepped in, in the transaction of what was done; nothing if it reached no job, or changed no setting.';
