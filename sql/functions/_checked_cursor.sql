create or replace function aiserv._checked_cursor(setting text)
returns jsonb
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    kept jsonb;
begin
    -- Whoever has the session may write into it what they like: no cursor lasts longer, and what is none counts as none.
    kept := _checked_cursor.setting::jsonb;
    return case
        when (kept ->> 'until')::timestamptz between clock_timestamp() and clock_timestamp() + interval '5 seconds' then kept
    end;
exception
    when data_exception then
        return null;
end;
$$;

comment on function aiserv._checked_cursor is 'What a setting holds, while it is a cursor: see _cursor.';
