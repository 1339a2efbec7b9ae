create or replace function aiserv.list_queues(
    model_profile text default null,
    task_type     text default null
)
returns setof aiserv.queue
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    return query
    select queue.*
    from aiserv.queue as queue
    where (list_queues.model_profile is null or queue.model_profile = list_queues.model_profile)
      and (list_queues.task_type is null or queue.task_type = list_queues.task_type)
    order by queue.model_profile, queue.task_type nulls first;
end;
$$;

comment on function aiserv.list_queues is
'The queues with their pauses, limits and numbers; of one model profile, or of one task type of it. task_type null is the whole profile.';
