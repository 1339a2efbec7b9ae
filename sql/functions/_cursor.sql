create or replace function aiserv._cursor(name text)
returns jsonb
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    setting text := nullif(current_setting(_cursor.name, true), '');
    kept    jsonb;
begin
    if setting is null then
        return null;
    end if;
    -- Whoever has the session may write into it what they like: no cursor lasts longer, and what is none counts as none.
    begin
        kept := setting::jsonb;
        return case
            when (kept ->> 'until')::timestamptz between clock_timestamp() and clock_timestamp() + interval '5 seconds' then kept
        end;
    exception
        when data_exception then
            return null;
    end;
end;
$$;

comment on function aiserv._cursor is
'Where the looks of this session have come to, while it pays to begin there: those of claims in each lane, those for leases that run
out, those for jobs to prune. Null is the head, as nearly always.';
