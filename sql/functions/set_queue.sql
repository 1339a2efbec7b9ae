create or replace function aiserv.set_queue(
    model_profile       text,
    task_type           text        default null,
    paused              boolean     default null,
    pause_reason        text        default '',
    paused_until        timestamptz default null,
    max_running         integer     default -1,
    requests_per_minute integer     default -1,
    tokens_per_minute   integer     default -1,
    actor               text        default null
)
returns aiserv.queue
language plpgsql
security definer
set search_path = pg_temp
as $$
declare
    complaint text := case
        when (char_length(set_queue.model_profile) between 1 and 200) is not true then 'model_profile: must have 1 to 200 characters'
        when not (char_length(set_queue.task_type) between 1 and 200) then 'task_type: must have 1 to 200 characters'
        when char_length(set_queue.pause_reason) > 1000 then 'pause_reason: must have at most 1000 characters'
        when set_queue.paused_until is not null and set_queue.paused is not true then 'paused_until: only a pause has an end'
        when set_queue.paused_until <= clock_timestamp() then 'paused_until: must be in the future'
        when set_queue.max_running < -1 then 'max_running: must be 0 or more'
        when set_queue.requests_per_minute < -1 or set_queue.requests_per_minute = 0 then 'requests_per_minute: must be 1 or more'
        when set_queue.tokens_per_minute < -1 or set_queue.tokens_per_minute = 0 then 'tokens_per_minute: must be 1 or more'
    end;
    queue_type text := coalesce(set_queue.task_type, '');
    moment     timestamptz := clock_timestamp();
    known      aiserv.queue_setting;
    changed    aiserv.queue_setting;
    requests   integer;
    tokens     integer;
    shown      aiserv.queue;
begin
    if complaint is not null then
        raise exception using errcode = 'JV400', message = complaint;
    end if;

    -- Claims under way did not see settings that are the first of their queue: they end first, as below.
    perform aiserv._hold_settings(set_queue.model_profile);
    insert into aiserv.queue_setting (model_profile, task_type, refilled_at, updated_at)
    values (set_queue.model_profile, queue_type, moment, moment)
    on conflict on constraint queue_setting_pkey do nothing;

    -- A claim that holds the row ends first: then the new settings hold for every later one.
    select setting.* into known
    from aiserv.queue_setting as setting
    where setting.model_profile = set_queue.model_profile and setting.task_type = queue_type
    for update;
    requests := case set_queue.requests_per_minute when -1 then known.requests_per_minute else set_queue.requests_per_minute end;
    tokens := case set_queue.tokens_per_minute when -1 then known.tokens_per_minute else set_queue.tokens_per_minute end;

    update aiserv.queue_setting as setting
    set paused = coalesce(set_queue.paused and set_queue.paused_until is null, setting.paused),
        paused_until = case when set_queue.paused is null then setting.paused_until else set_queue.paused_until end,
        pause_reason = case
            when set_queue.paused is false then null
            when set_queue.pause_reason is distinct from '' then set_queue.pause_reason
            -- A new pause has nothing to do with the reason of one that is over.
            when set_queue.paused is null or setting.paused or setting.paused_until > moment then setting.pause_reason
        end,
        max_running = case set_queue.max_running when -1 then setting.max_running else set_queue.max_running end,
        requests_per_minute = requests,
        tokens_per_minute = tokens,
        -- Buckets begin full, and never hold more than a minute's worth.
        request_balance = case when requests is not null then least(setting.request_balance, requests) end,
        token_balance = case when tokens is not null then least(setting.token_balance, tokens) end,
        updated_at = clock_timestamp()
    where setting.model_profile = set_queue.model_profile and setting.task_type = queue_type
    returning setting.* into changed;
    perform aiserv._record_action(
        'set_queue', set_queue.actor, model_profile => set_queue.model_profile, task_type => set_queue.task_type,
        changes => aiserv._changed_settings(known, changed)
    );

    select queue.* into shown
    from aiserv.queue as queue
    where queue.model_profile = set_queue.model_profile and queue.task_type is not distinct from set_queue.task_type;
    return shown;
end;
$$;

comment on function aiserv.set_queue is
'Set pauses and limits of a model profile, or of one task type of it; of the two levels the tighter holds. What is left out stays.
paused => false ends a pause and forgets its reason; paused_until, with paused => true, lets it end by itself.
A limit of null is lifted, of -1 (as left out) stays; so it is with a pause_reason of null, and of ''''. Claims that wait are woken.
aiserv.actions remembers what changed, and the actor: who asks for it.
Claims under way end first, and later ones see it; only a transaction at REPEATABLE READ that began before misses the first settings
of a queue. Raises JV400 (a name, a number or paused_until out of range).';
