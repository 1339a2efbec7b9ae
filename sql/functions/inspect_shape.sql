create or replace function aiserv.inspect_shape()
returns setof aiserv.finding
language plpgsql
stable
-- The record is in a table. What it is compared with, everybody may read in the catalog.
security definer
set search_path = pg_temp
as $$
begin
    return query
    select
        'objects',
        case when count(*) = 0 then 'ok' when bool_and(differing.what = 'is not of aiserv') then 'warning' else 'problem' end,
        case
            when count(*) = 0 then 'as installed'
            else string_agg(format('%s %s', differing.object, differing.what), ', ' order by differing.object) filter (where differing.number <= 5)
                || case when count(*) > 5 then format(' and %s more', count(*) - 5) else '' end
        end,
        case when count(*) > 0 then
            coalesce('Undo it: ' || string_agg(differing.mend, ' ' order by differing.object) filter (where differing.number <= 5), 'Drop it.')
                || ' Or, if it is meant, let the owner of the schema run: select aiserv._record_shape();'
        end
    from (
        select
            coalesce(known.object, actual.object),
            case when known.object is null then 'is not of aiserv' when actual.object is null then 'is missing' else 'was changed' end,
            case
                when known.object is null then null
                when known.object like 'function %' then 'run its file of sql/functions/ or sql/triggers/ if it is missing, and sql/grants.sql;'
                when known.object like 'query of %' then 'run its file of sql/views/;'
                when actual.object is null and known.object ~ '^(index|trigger) ' then known.definition || ';'
                when actual.object is null and known.object like 'constraint %' then
                    regexp_replace(known.object, '^constraint (.*)\.(.*)$', 'alter table \1 add constraint \2 ') || known.definition || ';'
                when actual.object is null and known.object like 'domain constraint %' then
                    regexp_replace(known.object, '^domain constraint (.*)\.(.*)$', 'alter domain \1 add constraint \2 ')
                        || known.definition || ';'
                else format('%s was %s;', known.object, left(known.definition, 200))
            end,
            row_number() over (order by coalesce(known.object, actual.object))
        from aiserv.shape as known
        full join aiserv._shape() as actual on actual.object = known.object
        where known.definition is distinct from actual.definition
          -- After a change of PostgreSQL's version there is none to compare with.
          and (coalesce(known.object, actual.object) not like 'query of %' or known.object = actual.object)
    ) as differing(object, what, mend, number);
end;
$$;

comment on function aiserv.inspect_shape is
'Whether tables, columns, constraints, indexes, triggers, views, owners and the rights of our roles are as they were installed:
topic objects.';
