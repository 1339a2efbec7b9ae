create or replace function aiserv.resume_queue(
    model_profile text,
    task_type     text default null,
    actor         text default null
)
returns aiserv.queue
language plpgsql
security definer
set search_path = pg_temp
as $$
begin
    return aiserv.set_queue(resume_queue.model_profile, resume_queue.task_type, false, actor => resume_queue.actor);
end;
$$;

comment on function aiserv.resume_queue is
'End the pause of a model profile, or of one task type of it; its limits stay.
aiserv.actions remembers the actor: who asks for it. Raises JV400 (a name out of range).';
