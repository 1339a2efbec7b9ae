-- Who may do what: the last step of every installation. Public functions are the only way in.

do $$
declare
    function record;
    relation record;
begin
    for function in
        select procedure.oid::regprocedure as signature, procedure.proname as name
        from pg_catalog.pg_proc as procedure
        where procedure.pronamespace = 'aiserv'::regnamespace
    loop
        execute format('revoke all on function %s from public', function.signature);
        if function.name not like '\_%' and exists (select from pg_catalog.pg_roles where rolname = 'aiserv_service') then
            execute format('grant execute on function %s to aiserv_service', function.signature);
        end if;
    end loop;

    for relation in
        select class.oid::regclass as name
        from pg_catalog.pg_namespace as namespace
        -- What somebody else made in our schema is not ours to give.
        join pg_catalog.pg_class as class on class.relnamespace = namespace.oid and class.relowner = namespace.nspowner
        where namespace.nspname = 'aiserv' and class.relkind = 'v' and class.relname not like '\_%'
    loop
        if exists (select from pg_catalog.pg_roles where rolname = 'aiserv_readonly') then
            execute format('grant select on %s to aiserv_readonly', relation.name);
            execute format('grant select on %s to aiserv_service', relation.name);
        end if;
    end loop;

    if exists (select from pg_catalog.pg_roles where rolname = 'aiserv_readonly') then
        grant usage on schema aiserv to aiserv_service, aiserv_readonly;
    end if;
end;
$$;
