create or replace function aiserv.time_text(moment timestamptz)
returns text
language sql
stable
as $$
    select to_char(time_text.moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
$$;

comment on function aiserv.time_text is
'A time as the API writes it: RFC 3339, UTC, six digits. Without a search path of its own, so that the planner can inline it.';
