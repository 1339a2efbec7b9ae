create or replace function aiserv.inspect_upkeep(patience interval default '5 minutes')
returns setof aiserv.finding
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return query
    select
        seen.topic,
        case when seen.wrong then seen.severity else 'ok' end,
        seen.detail,
        case when seen.wrong then seen.advice end
    from (
        select
            'transactions', old.number > 0, 'warning',
            case
                when old.number > 0
                    then format('%s open for long, the oldest since %s: %s', old.number, old.since, old.names)
                when pg_catalog.pg_has_role(current_user, 'pg_read_all_stats', 'usage') then 'none is old'
                else 'none of this role is old; those of others are hidden from it: grant pg_read_all_stats to see them'
            end,
            'End them (select pg_terminate_backend(pid)): dead rows stay for as long as one is open, and claims get slower.'
        from (
            select
                count(*), date_trunc('second', min(activity.xact_start)),
                string_agg(format('pid %s of %s (%s)', activity.pid, activity.usename, activity.application_name), ', ' order by activity.xact_start)
            from pg_catalog.pg_stat_activity as activity
            where activity.xact_start < clock_timestamp() - inspect_upkeep.patience and activity.backend_type = 'client backend'
        ) as old(number, since, names)
        union all
        select
            'prepared_transactions', count(*) > 0, 'warning',
            coalesce(string_agg(format('%s since %s', prepared.gid, date_trunc('second', prepared.prepared)), ', ' order by prepared.prepared), 'none is old'),
            'Commit or roll them back: they hold locks and dead rows for ever.'
        from pg_catalog.pg_prepared_xacts as prepared
        where prepared.prepared < clock_timestamp() - inspect_upkeep.patience
        union all
        select
            'replication_slots', count(*) > 0, 'warning',
            coalesce('without a reader: ' || string_agg(slot.slot_name, ', ' order by slot.slot_name), 'none without a reader'),
            'Connect their replicas, or drop them (pg_drop_replication_slot): they keep WAL and dead rows until the disk is full.'
        from pg_catalog.pg_replication_slots as slot
        where not slot.active and not slot.temporary
        union all
        select
            'dead_rows', count(*) > 0, 'warning',
            coalesce(string_agg(format('%s of aiserv.%s', tables.n_dead_tup, tables.relname), ', ' order by tables.n_dead_tup desc), 'few'),
            'End what holds them: old transactions, prepared ones, replication slots. Then vacuum analyze the tables.'
        from pg_catalog.pg_stat_all_tables as tables
        where tables.schemaname = 'aiserv' and tables.n_dead_tup > 100000 and tables.n_dead_tup > tables.n_live_tup
        union all
        select
            'notifications', queue.usage >= 0.01, case when queue.usage >= 0.5 then 'problem' else 'warning' end,
            format('%s %% of the queue in use', round((queue.usage * 100)::numeric, 2)),
            'Somebody listens and does not read: end the oldest transaction of a listener. When the queue is full no job can be created.'
        from pg_catalog.pg_notification_queue_usage() as queue(usage)
    ) as seen(topic, wrong, severity, detail, advice);
end;
$$;

comment on function aiserv.inspect_upkeep is
'What makes an installation slower and slower: topics transactions, prepared_transactions, replication_slots, dead_rows,
notifications. patience is how long a transaction may be open. The transactions of others are seen by members of pg_read_all_stats
alone.';
