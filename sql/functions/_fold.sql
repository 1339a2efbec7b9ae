create or replace function aiserv._fold()
returns bigint
language plpgsql
set search_path = pg_temp
as $$
declare
    folded bigint;
begin
    -- One at a time, and nobody waits: the next to come does what is left.
    if not pg_try_advisory_xact_lock(hashtextextended('aiserv.fold', 0)) then
        return 0;
    end if;

    with gone as (
        delete from aiserv.delta as delta
        where delta.ctid = any(array(select old.ctid from aiserv.delta as old limit 100000))
        returning delta.*
    ),
    added as (
        insert into aiserv.tally as tally (
            minute, owner_service, task_type, model_profile, error_category, total, scheduled, completed, failed, cancelled
        )
        select
            part.minute, gone.owner_service, gone.task_type, gone.model_profile, gone.error_category, sum(part.total),
            sum(part.scheduled), sum(gone.completed), sum(gone.failed), sum(gone.cancelled)
        from gone
        cross join lateral (
            values ('-infinity'::timestamptz, gone.total, gone.scheduled), (gone.minute, 0, 0)
        ) as part(minute, total, scheduled)
        -- The minutes serve "finished since": what was only created or scheduled in one is of no use to them.
        where part.minute = '-infinity' or gone.completed <> 0 or gone.failed <> 0 or gone.cancelled <> 0
        group by part.minute, gone.owner_service, gone.task_type, gone.model_profile, gone.error_category
        on conflict on constraint tally_pkey do update
        set total = tally.total + excluded.total,
            scheduled = tally.scheduled + excluded.scheduled,
            completed = tally.completed + excluded.completed,
            failed = tally.failed + excluded.failed,
            cancelled = tally.cancelled + excluded.cancelled
    )
    select count(*) into folded from gone;

    delete from aiserv.worker as worker where worker.last_seen_at < clock_timestamp() - interval '1 day';
    return folded;
end;
$$;

comment on function aiserv._fold is
'Fold the deltas of the counters into totals and forget workers not seen for a day. It changes no number; returns how many it
folded, 100,000 at most.';
