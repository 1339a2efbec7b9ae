-- Who stepped in: appended by the functions that people call, never changed, deleted by retention alone.

create table aiserv.action (
    acted_at      timestamptz not null,
    actor         text,
    role          text        not null,
    client        inet,
    action        text        not null,
    job_ids       uuid[],
    model_profile text,
    task_type     text,
    changes       jsonb,
    reason        text,
    constraint action_is_known check (action in ('cancel', 'retry', 'delete', 'set_queue'))
);

-- To try to compress ids costs ten times what it takes to store them.
alter table aiserv.action alter column job_ids set storage external;

create index action_by_time on aiserv.action (acted_at);

comment on table aiserv.action is
'Who cancelled, retried or deleted jobs or changed a queue: one row for each call that changed something, written in its transaction.';
