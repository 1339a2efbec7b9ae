create or replace function aiserv.resume_queue(
    model_profile text,
    task_type     text default null
)
returns aiserv.queue
language plpgsql
security definer
set search_path = ''
as $$
declare
    setting aiserv.queue_setting := aiserv._setting(resume_queue.model_profile, resume_queue.task_type);
begin
    return aiserv.set_queue(
        resume_queue.model_profile, resume_queue.task_type, false, null, null, setting.max_running,
        setting.requests_per_minute, setting.tokens_per_minute
    );
end;
$$;

comment on function aiserv.resume_queue is
'End the pause of a model profile, or of one task type of it; its limits stay. Raises JV400 (a name out of range).';
