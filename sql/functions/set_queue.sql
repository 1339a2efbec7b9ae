create or replace function aiserv.set_queue(
    model_profile       text,
    task_type           text,
    paused              boolean,
    paused_until        timestamptz,
    pause_reason        text,
    max_running         integer,
    requests_per_minute integer,
    tokens_per_minute   integer
)
returns aiserv.queue
language plpgsql
security definer
set search_path = ''
as $$
declare
    complaint text := case
        when (char_length(set_queue.model_profile) between 1 and 200) is not true then 'model_profile: must have 1 to 200 characters'
        when not (char_length(set_queue.task_type) between 1 and 200) then 'task_type: must have 1 to 200 characters'
        when set_queue.paused is null then 'paused: must be true or false'
        when set_queue.max_running < 0 then 'max_running: must be 0 or more'
        when set_queue.requests_per_minute < 1 then 'requests_per_minute: must be 1 or more'
        when set_queue.tokens_per_minute < 1 then 'tokens_per_minute: must be 1 or more'
        when char_length(set_queue.pause_reason) > 1000 then 'pause_reason: must have at most 1000 characters'
    end;
    moment timestamptz := clock_timestamp();
    shown  aiserv.queue;
begin
    if complaint is not null then
        raise exception using errcode = 'JV400', message = complaint;
    end if;

    -- Buckets begin full. A claim that holds the row ends first: then the new settings hold for every later one.
    insert into aiserv.queue_setting as setting (
        model_profile, task_type, paused, paused_until, pause_reason, max_running, requests_per_minute, tokens_per_minute,
        request_balance, token_balance, refilled_at, updated_at
    )
    values (
        set_queue.model_profile, coalesce(set_queue.task_type, ''), set_queue.paused, set_queue.paused_until,
        set_queue.pause_reason, set_queue.max_running, set_queue.requests_per_minute, set_queue.tokens_per_minute,
        set_queue.requests_per_minute, set_queue.tokens_per_minute, moment, moment
    )
    on conflict on constraint queue_setting_pkey do update
    set paused = excluded.paused,
        paused_until = excluded.paused_until,
        pause_reason = excluded.pause_reason,
        max_running = excluded.max_running,
        requests_per_minute = excluded.requests_per_minute,
        tokens_per_minute = excluded.tokens_per_minute,
        request_balance = least(coalesce(setting.request_balance, excluded.request_balance), excluded.request_balance),
        token_balance = least(coalesce(setting.token_balance, excluded.token_balance), excluded.token_balance),
        updated_at = excluded.updated_at;

    select queue.* into shown
    from aiserv.queue as queue
    where queue.model_profile = set_queue.model_profile and queue.task_type is not distinct from set_queue.task_type;
    return shown;
end;
$$;

comment on function aiserv.set_queue is
'Set the pauses and limits of a model profile (task_type null) or of one task type of it, all at once: null lifts a limit.
Of the two levels the tighter holds. Claims that wait are woken.
Raises JV400 (a name or a number out of range).';
