create or replace function aiserv.inspect_replication()
returns setof aiserv.finding
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    waits_for text := current_setting('synchronous_standby_names');
    commit    text := current_setting('synchronous_commit');
begin
    return query
    select
        'commit',
        case when commit = 'off' then 'problem' when commit in ('local', 'remote_write') and waits_for <> '' then 'warning' else 'ok' end,
        format('synchronous_commit %s', commit) || case when waits_for <> '' then format(', standbys %s', waits_for) else '' end,
        case
            when commit = 'off' then 'Turn it on: without it a crash loses the jobs of the last moments, though they were answered.'
            when commit in ('local', 'remote_write') and waits_for <> '' then
                'Turn it on: a failover loses what no standby has on its disk, though it was answered.'
        end;

    return query
    select
        'standbys',
        case when waits_for <> '' and seen.synchronous = 0 then 'problem' when seen.behind is not null then 'warning' else 'ok' end,
        case
            when seen.hidden > 0 then
                format('%s; how they do is hidden from this role: grant pg_read_all_stats to see it', seen.hidden)
            when waits_for <> '' and seen.synchronous = 0 then format('none of %s streams', waits_for)
            when seen.number = 0 then 'none: what was answered is on this machine alone'
            else coalesce(seen.behind, format('%s stream, %s of them synchronous', seen.number, seen.synchronous))
        end,
        case
            when waits_for <> '' and seen.synchronous = 0 then 'Start it, or take it off synchronous_standby_names: every commit waits for it.'
            when seen.behind is not null then 'See why: it cannot take over without loss, and keeps WAL.'
        end
    from (
        select
            count(*) as number,
            count(*) filter (where sender.state is null) as hidden,
            -- One that is hidden is not said to be missing.
            count(*) filter (where sender.sync_state in ('sync', 'quorum') or sender.state is null) as synchronous,
            string_agg(
                format('%s: %s, %s behind', sender.application_name, sender.state, coalesce(sender.replay_lag::text, 'not known how far')), ', '
                order by sender.application_name
            ) filter (where sender.state <> 'streaming' or sender.replay_lag > interval '1 minute') as behind
        from pg_catalog.pg_stat_replication as sender
        -- A backup under way is none.
        where sender.state is distinct from 'backup'
    ) as seen;
end;
$$;

comment on function aiserv.inspect_replication is
'Whether commits are as durable as their answers say, and how the standbys do: topics commit, standbys.';
