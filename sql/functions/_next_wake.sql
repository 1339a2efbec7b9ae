create or replace function aiserv._next_wake(
    model_profiles text[],
    task_types     text[]
)
returns timestamptz
language plpgsql
volatile
set search_path = pg_temp
as $$
declare
    soonest  timestamptz;
    limited  boolean;
    troubled boolean;
begin
    select
        least(
            -- A job of theirs becomes due.
            due.run_at,
            -- A lease runs out, of whatever queue: any claim that comes back short recovers it.
            aiserv._first_expiry()
        ),
        exists (select from aiserv.queue_setting),
        exists (select from aiserv.provider)
    into soonest, limited, troubled
    from aiserv._first_due(_next_wake.model_profiles, _next_wake.task_types) as due;
    if limited then
        -- A pause ends, or a rate allows the next job. Balances are as the last claim left them: what they allowed since
        -- then is no reason to come, or nobody would ever sleep beside a queue that nobody claims from.
        soonest := least(soonest, (
            select min(change.moment)
            from aiserv.queue_setting as setting
            join unnest(_next_wake.model_profiles, _next_wake.task_types) as queue(model_profile, task_type)
                on queue.model_profile = setting.model_profile and setting.task_type in ('', queue.task_type)
            cross join lateral (
                select greatest(
                    setting.paused_until,
                    setting.refilled_at + (1 - setting.request_balance) / setting.requests_per_minute * interval '1 minute',
                    setting.refilled_at - setting.token_balance / setting.tokens_per_minute * interval '1 minute'
                ) as moment
            ) as change
            where not setting.paused and change.moment > clock_timestamp()
        ));
    end if;
    if troubled then
        -- A provider may be probed, and there is a job for it.
        soonest := least(soonest, (
            select min(trouble.probe_at)
            from aiserv._trouble as trouble
            join unnest(_next_wake.model_profiles, _next_wake.task_types) as queue(model_profile, task_type)
                on queue.model_profile = trouble.model_profile
            where exists (
                select
                from aiserv.ready as ready
                where ready.queue_key = aiserv._queue_key(queue.model_profile, queue.task_type)
            )
              and trouble.probe_at > clock_timestamp() - interval '1 minute'
              and exists (select from aiserv._open_queues(array[queue.model_profile], array[queue.task_type], null))
        ));
    end if;
    return soonest;
end;
$$;

comment on function aiserv._next_wake is 'As next_wake, for queues given as pairs in two arrays side by side, null for none.';
