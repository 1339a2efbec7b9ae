create or replace function aiserv._keep_cursor(
    name   aiserv._cursor_name,
    cursor jsonb,
    place  jsonb
)
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    perform set_config(
        _keep_cursor.name::text,
        -- From time to time a look from the head finds what lies before: retried, released, or committed late.
        (jsonb_build_object('until', coalesce(_keep_cursor.cursor -> 'until', to_jsonb(clock_timestamp() + interval '5 seconds')))
            || _keep_cursor.place)::text,
        false
    );
end;
$$;

comment on function aiserv._keep_cursor is
'Let the next looks of this session begin at this place, an object, for up to five seconds from the first that did: see _cursor.';
