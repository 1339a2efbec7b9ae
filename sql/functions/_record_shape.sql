create or replace function aiserv._record_shape(before jsonb default null)
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    delete from aiserv.shape as known
    where (_record_shape.before is null or _record_shape.before ? known.object)
      and known.object not in (select actual.object from aiserv._shape() as actual);

    insert into aiserv.shape (object, definition)
    select actual.object, actual.definition
    from aiserv._shape() as actual
    where _record_shape.before is null or actual.definition is distinct from _record_shape.before ->> actual.object
    on conflict (object) do update set definition = excluded.definition;
end;
$$;

comment on function aiserv._record_shape is
'Remember what the schema is made of, for inspect_shape to compare it with. before holds definitions by object as they were before
an update: only what differs from it is remembered, so that an update makes nothing right that somebody changed by hand.';
