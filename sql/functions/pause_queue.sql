create or replace function aiserv.pause_queue(
    model_profile text,
    task_type     text        default null,
    pause_reason  text        default null,
    paused_until  timestamptz default null
)
returns aiserv.queue
language plpgsql
security definer
set search_path = ''
as $$
declare
    setting aiserv.queue_setting := aiserv._setting(pause_queue.model_profile, pause_queue.task_type);
begin
    return aiserv.set_queue(
        pause_queue.model_profile, pause_queue.task_type, pause_queue.paused_until is null, pause_queue.paused_until,
        pause_queue.pause_reason, setting.max_running, setting.requests_per_minute, setting.tokens_per_minute
    );
end;
$$;

comment on function aiserv.pause_queue is
'Let nobody claim from a model profile, or from one task type of it, until resume_queue or paused_until. Running jobs go on.
Raises JV400 (a name out of range).';
