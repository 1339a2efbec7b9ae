create or replace function aiserv.inspect_server()
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
            'version',
            current_setting('server_version_num')::integer not between 150000 and 189999,
            case when current_setting('server_version_num')::integer < 150000 then 'problem' else 'warning' end,
            format('PostgreSQL %s', current_setting('server_version')),
            'aiserv is tested with PostgreSQL 15 to 18: use one of them.'
        union all
        select
            'primary', pg_catalog.pg_is_in_recovery(), 'problem',
            case when pg_catalog.pg_is_in_recovery() then 'this is a standby: it takes no jobs' else 'takes writes' end,
            'Name all hosts in DATABASE_URL and add target_session_attrs=read-write.'
        union all
        select
            'encoding', current_setting('server_encoding') <> 'UTF8', 'problem', current_setting('server_encoding'),
            'Make the database anew with encoding UTF8: in another one some texts cannot be stored.'
        union all
        select
            'durability', 'off' in (current_setting('fsync'), current_setting('full_page_writes')), 'problem',
            format('fsync %s, full_page_writes %s', current_setting('fsync'), current_setting('full_page_writes')),
            'Turn both on: without them a crash of the machine may lose or damage everything.'
        union all
        select
            'autovacuum', current_setting('autovacuum') = 'off', 'problem', format('autovacuum %s', current_setting('autovacuum')),
            'Turn it on: dead rows make claims slower and slower.'
        union all
        select
            'connections', used.number > 0.8 * used.available, 'warning', format('%s of %s in use', used.number, used.available),
            'Raise max_connections, or lower DATABASE_POOL_SIZE of servers and workers.'
        from (
            select
                -- Those of others too, which pg_stat_activity hides from most roles.
                (select sum(database.numbackends) from pg_catalog.pg_stat_database as database),
                current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
                -- Since PostgreSQL 16.
                - coalesce(current_setting('reserved_connections', true)::integer, 0)
        ) as used(number, available)
    ) as seen(topic, wrong, severity, detail, advice);
end;
$$;

comment on function aiserv.inspect_server is
'Whether PostgreSQL is set so that what aiserv promises holds: topics version, primary, encoding, durability, autovacuum,
connections.';
