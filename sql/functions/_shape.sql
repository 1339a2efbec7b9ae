create or replace function aiserv._shape()
returns setof aiserv.shape
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return query
    with relation as (
        select class.oid, class.relname as name, class.relkind as kind, class.relowner as owner, class.relacl as rights, class.relrowsecurity as guarded
        from pg_catalog.pg_class as class
        where class.relnamespace = 'aiserv'::pg_catalog.regnamespace
    )
    select format('schema %s', namespace.nspname), aiserv._rights(namespace.nspowner, namespace.nspacl)
    from pg_catalog.pg_namespace as namespace
    where namespace.nspname = 'aiserv'
    union all
    select
        format('%s aiserv.%I', case relation.kind when 'r' then 'table' when 'v' then 'view' else 'relation' end, relation.name),
        format('%s%s', aiserv._rights(relation.owner, relation.rights), case when relation.guarded then ', row security' end)
    from relation
    where relation.kind not in ('i', 'c')
    union all
    select
        format('column aiserv.%I.%I', relation.name, field.attname),
        concat_ws(
            ' ', pg_catalog.format_type(field.atttypid, field.atttypmod), case when field.attnotnull then 'not null' end,
            nullif(concat(field.attgenerated, field.attidentity), ''), pg_catalog.pg_get_expr(initial.adbin, initial.adrelid)
        )
    from relation
    join pg_catalog.pg_attribute as field on field.attrelid = relation.oid and field.attnum > 0 and not field.attisdropped
    left join pg_catalog.pg_attrdef as initial on initial.adrelid = relation.oid and initial.adnum = field.attnum
    where relation.kind in ('r', 'c')
    union all
    -- Each version prints them in its own way.
    select
        format('query of aiserv.%I in PostgreSQL %s', relation.name, current_setting('server_version_num')::integer / 10000),
        pg_catalog.pg_get_viewdef(relation.oid)
    from relation
    where relation.kind in ('v', 'm')
    union all
    select format('index aiserv.%I', relation.name), pg_catalog.pg_get_indexdef(relation.oid)
    from relation
    -- The index of a constraint comes and goes with it.
    where relation.kind = 'i'
      and relation.oid not in (select rule.conindid from pg_catalog.pg_constraint as rule where rule.contype in ('p', 'u', 'x'))
    union all
    select format('constraint aiserv.%I.%I', relation.name, rule.conname), pg_catalog.pg_get_constraintdef(rule.oid)
    from relation
    -- Whether a column may be null is said of the column; from PostgreSQL 18 on it is a constraint as well.
    join pg_catalog.pg_constraint as rule on rule.conrelid = relation.oid and rule.contype not in ('n', 't')
    union all
    select format('domain constraint aiserv.%I.%I', domain.typname, rule.conname), pg_catalog.pg_get_constraintdef(rule.oid)
    from pg_catalog.pg_type as domain
    join pg_catalog.pg_constraint as rule on rule.contypid = domain.oid and rule.contype <> 'n'
    where domain.typnamespace = 'aiserv'::pg_catalog.regnamespace
    union all
    select format('trigger aiserv.%I.%I', relation.name, guard.tgname), pg_catalog.pg_get_triggerdef(guard.oid)
    from relation
    join pg_catalog.pg_trigger as guard on guard.tgrelid = relation.oid and not guard.tgisinternal
    union all
    -- What it does and how is compared with its file.
    select format('function %s', routine.oid::pg_catalog.regprocedure), aiserv._rights(routine.proowner, routine.proacl)
    from pg_catalog.pg_proc as routine
    where routine.pronamespace = 'aiserv'::pg_catalog.regnamespace;
end;
$$;

comment on function aiserv._shape is 'What the schema is made of at this moment, as the catalog says it.';
