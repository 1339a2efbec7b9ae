create or replace function aiserv._queue_key(
    model_profile text,
    task_type     text
)
returns bigint
language sql
immutable
parallel safe
as $$
    select hashtextextended(_queue_key.task_type, hashtextextended(_queue_key.model_profile, 0));
$$;

comment on function aiserv._queue_key is
'The number under which the jobs of a queue lie in aiserv.ready. Should two queues share one, a claim still gives only jobs of those
that it names; one that leaves profiles or types open may see one of the two and not the other. Without a search path of its own, so
that the planner can inline it.';
