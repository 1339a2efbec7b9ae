create or replace function aiserv._queues(
    task_types     text[],
    model_profiles text[],
    queues         jsonb default null,
    out profiles   text[],
    out kinds      text[]
)
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    wanted  text[] := array[]::text[];
    profile text;
    kind    text;
begin
    -- Nothing left open: the queues are known without a look at the tables. They are few: loops cost less than a statement.
    if cardinality(_queues.task_types) > 0 and cardinality(_queues.model_profiles) > 0 then
        foreach kind in array _queues.task_types loop
            if (kind = any(wanted)) is not true then
                wanted := wanted || kind;
            end if;
        end loop;
        foreach profile in array _queues.model_profiles loop
            -- Nothing named twice.
            continue when profile = any(_queues.profiles);
            foreach kind in array wanted loop
                if (_queues.queues -> profile ? kind) is not false then
                    _queues.profiles := _queues.profiles || profile;
                    _queues.kinds := _queues.kinds || kind;
                end if;
            end loop;
        end loop;
        return;
    end if;

    -- A step of the recursion is one look into an index, however many jobs a queue holds. From the end, as in _level.
    with recursive waiting(queue_key, model_profile, task_type) as (
        (select ready.queue_key, ready.model_profile, ready.task_type from aiserv.ready as ready order by 1 desc limit 1)
        union all
        select previous.*
        from waiting
        cross join lateral (
            select ready.queue_key, ready.model_profile, ready.task_type
            from aiserv.ready as ready
            where ready.queue_key < waiting.queue_key
            order by 1 desc
            limit 1
        ) as previous
    ),
    later(model_profile, task_type) as (
        (select scheduled.model_profile, scheduled.task_type from aiserv.scheduled as scheduled order by 1 desc, 2 desc limit 1)
        union all
        select previous.*
        from later
        cross join lateral (
            select scheduled.model_profile, scheduled.task_type
            from aiserv.scheduled as scheduled
            where (scheduled.model_profile, scheduled.task_type) < (later.model_profile, later.task_type)
            order by 1 desc, 2 desc
            limit 1
        ) as previous
    )
    select array_agg(queue.model_profile), array_agg(queue.task_type) into _queues.profiles, _queues.kinds
    from (select waiting.model_profile, waiting.task_type from waiting union select * from later) as queue
    where (coalesce(cardinality(_queues.task_types), 0) = 0 or queue.task_type = any(_queues.task_types))
      and (coalesce(cardinality(_queues.model_profiles), 0) = 0 or queue.model_profile = any(_queues.model_profiles))
      and (_queues.queues -> queue.model_profile ? queue.task_type) is not false;
end;
$$;

comment on function aiserv._queues is
'The queues, pairs of model profile and task type, that a claimer means; an empty or missing list means any that hold pending jobs.
queues has the task types of the profiles that do not go with all of them. The pairs are two arrays side by side, null for none.';
