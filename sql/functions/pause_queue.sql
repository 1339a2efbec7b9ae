create or replace function aiserv.pause_queue(
    model_profile text,
    task_type     text        default null,
    pause_reason  text        default null,
    paused_until  timestamptz default null,
    actor         text        default null
)
returns aiserv.queue
language plpgsql
security definer
set search_path = pg_temp
as $$
begin
    return aiserv.set_queue(
        pause_queue.model_profile, pause_queue.task_type, true, pause_queue.pause_reason, pause_queue.paused_until,
        actor => pause_queue.actor
    );
end;
$$;

comment on function aiserv.pause_queue is
'Let nobody claim from a model profile, or from one task type of it, until resume_queue or paused_until. Running jobs go on.
aiserv.actions remembers the actor: who asks for it. Raises JV400 (a name out of range, paused_until not in the future).';
