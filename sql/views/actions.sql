create or replace view aiserv.actions as
select
    action.acted_at,
    action.actor,
    action.role,
    action.client,
    action.action,
    cardinality(action.job_ids) as jobs,
    action.job_ids,
    action.model_profile,
    action.task_type,
    action.changes,
    action.reason
from aiserv.action as action
order by action.acted_at desc;

comment on view aiserv.actions is
'Who stepped in, the latest first: one row for each call that cancelled, retried or deleted jobs or changed the settings of a queue.';
comment on column aiserv.actions.acted_at is 'When.';
comment on column aiserv.actions.actor is
'Who, in the words of the caller: over HTTP the name of the token; null from psql, unless it was given. As good as its role.';
comment on column aiserv.actions.role is 'As whom the caller logged in to PostgreSQL.';
comment on column aiserv.actions.client is 'From where the caller was connected to PostgreSQL: a server, a pooler, psql; null for a local socket.';
comment on column aiserv.actions.action is 'cancel, retry, delete, set_queue (limits and pauses).';
comment on column aiserv.actions.jobs is 'How many jobs it reached; null for a queue.';
comment on column aiserv.actions.job_ids is 'Which jobs it reached; null for a queue.';
comment on column aiserv.actions.model_profile is 'The queue; of a delete, whose jobs were meant; null for a delete of old jobs.';
comment on column aiserv.actions.task_type is 'The task type, if only that one of the model profile was meant.';
comment on column aiserv.actions.changes is 'The settings that it changed, as aiserv.queue shows them: {"max_running": {"from": null, "to": 8}}; paused if it paused or resumed.';
comment on column aiserv.actions.reason is 'The reason of a cancel, if one was given; that of a pause is among the changes.';
