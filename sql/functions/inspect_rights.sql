create or replace function aiserv.inspect_rights()
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
            'role', role.rolsuper or role.owns, 'warning',
            format('connected as %s', current_user)
                || case when role.rolsuper then ', a superuser' when role.owns then ', who may act as the owner of the schema' else '' end,
            'Let servers and workers log in as a role with aiserv_service alone; run aiserv migrate as another one, and set MIGRATE_ON_START=false.'
        from (
            select known.rolsuper, pg_catalog.pg_has_role(current_user, namespace.nspowner, 'member')
            from pg_catalog.pg_roles as known
            cross join pg_catalog.pg_namespace as namespace
            where known.rolname = current_user and namespace.nspname = 'aiserv'
        ) as role(rolsuper, owns)
        union all
        select
            'grants', count(*) > 0, 'problem',
            case when count(*) = 0 then 'nobody may do more than is meant' else string_agg(
                format('%s on %s to %s', lower(given.privilege_type), given.object, coalesce(grantee.rolname, 'public')), ', ' order by given.object
            ) end,
            string_agg(
                format('revoke %s on %s from %s;', lower(given.privilege_type), given.object, coalesce(quote_ident(grantee.rolname), 'public')),
                ' ' order by given.object
            ) || ' Nobody but the owner may write tables, and public may do nothing.'
        from (
            select format('function aiserv.%I', routine.proname), acl.grantee, acl.privilege_type
            from pg_catalog.pg_proc as routine
            cross join lateral pg_catalog.aclexplode(coalesce(routine.proacl, pg_catalog.acldefault('f', routine.proowner))) as acl
            where routine.pronamespace = 'aiserv'::pg_catalog.regnamespace
              and acl.grantee <> routine.proowner and (acl.grantee = 0 or routine.proname like '\_%')
            union all
            select format('aiserv.%I', relation.relname), acl.grantee, acl.privilege_type
            from pg_catalog.pg_class as relation
            cross join lateral pg_catalog.aclexplode(relation.relacl) as acl
            where relation.relnamespace = 'aiserv'::pg_catalog.regnamespace and acl.grantee <> relation.relowner
              and (acl.grantee = 0 or acl.privilege_type <> 'SELECT' or relation.relkind <> 'v' or relation.relname like '\_%')
            union all
            select 'schema aiserv', acl.grantee, acl.privilege_type
            from pg_catalog.pg_namespace as namespace
            cross join lateral pg_catalog.aclexplode(namespace.nspacl) as acl
            where namespace.nspname = 'aiserv' and acl.grantee <> namespace.nspowner and (acl.grantee = 0 or acl.privilege_type = 'CREATE')
        ) as given(object, grantee, privilege_type)
        left join pg_catalog.pg_roles as grantee on grantee.oid = given.grantee
        union all
        select
            'public_schema', count(*) > 0, 'warning',
            coalesce('everybody may create in it, and it is on the path of servers: ' || string_agg(acl.privilege_type, ', '), 'not for everybody to create in'),
            'revoke create on schema public from public; An operator or function made there may run with the rights of a server.'
        from pg_catalog.pg_namespace as namespace
        cross join lateral pg_catalog.aclexplode(namespace.nspacl) as acl
        where namespace.nspname = 'public' and acl.grantee = 0 and acl.privilege_type = 'CREATE'
        union all
        select
            'switched_off', count(*) > 0, 'problem',
            coalesce(string_agg(broken.what, ', ' order by broken.what), 'all triggers fire, all indexes are valid'),
            string_agg(broken.mend || ';', ' ' order by broken.what) || ' Until then nothing guards the state of jobs, or claims are slow.'
        from (
            select
                format('trigger %s on aiserv.%I', guard.tgname, relation.relname),
                format('alter table aiserv.%I enable trigger %I', relation.relname, guard.tgname)
            from pg_catalog.pg_trigger as guard
            join pg_catalog.pg_class as relation on relation.oid = guard.tgrelid
            where relation.relnamespace = 'aiserv'::pg_catalog.regnamespace and guard.tgenabled not in ('O', 'A')
            union all
            select format('index aiserv.%I', relation.relname), format('reindex index concurrently aiserv.%I', relation.relname)
            from pg_catalog.pg_index as index
            join pg_catalog.pg_class as relation on relation.oid = index.indexrelid
            where relation.relnamespace = 'aiserv'::pg_catalog.regnamespace and not index.indisvalid
        ) as broken(what, mend)
    ) as seen(topic, wrong, severity, detail, advice);
end;
$$;

comment on function aiserv.inspect_rights is
'Whether anybody may do more than is meant, or a guard is off: topics role, grants, public_schema, switched_off.';
