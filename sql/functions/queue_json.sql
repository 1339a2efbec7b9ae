create or replace function aiserv.queue_json(queue aiserv.queue)
returns json
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return json_build_object(
        'model_profile', queue.model_profile,
        'task_type', queue.task_type,
        'paused', queue.paused,
        'paused_until', aiserv.time_text(queue.paused_until),
        'pause_reason', queue.pause_reason,
        'max_running', queue.max_running,
        'requests_per_minute', queue.requests_per_minute,
        'tokens_per_minute', queue.tokens_per_minute,
        'running', queue.running,
        'pending', queue.pending
    );
end;
$$;

comment on function aiserv.queue_json is
'The queue as the HTTP API shows it. Try: select aiserv.queue_json(queue) from aiserv.queue as queue.';
