create or replace function aiserv._prune_actions(
    cutoff   timestamptz,
    max_rows integer
)
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    delete from aiserv.action as action
    where action.ctid = any(array(
        select old.ctid
        from aiserv.action as old
        -- Whoever may call prune_jobs says how long: nobody is to wipe away what he has just done.
        where old.acted_at < least(_prune_actions.cutoff, clock_timestamp() - interval '30 days')
        order by old.acted_at
        limit _prune_actions.max_rows
        for update skip locked
    ));
end;
$$;

comment on function aiserv._prune_actions is
'Forget up to max_rows actions before the cutoff, the oldest first, and none of the last 30 days.';
