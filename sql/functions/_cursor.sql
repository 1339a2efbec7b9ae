create or replace function aiserv._cursor()
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
    kept jsonb := nullif(current_setting('aiserv.cursor', true), '')::jsonb;
begin
    return case when (kept ->> 'until')::timestamptz > clock_timestamp() then kept end;
end;
$$;

comment on function aiserv._cursor is
'Where the claims of this session have come to in each lane, while it pays to begin there; null is the head, as nearly always.';
