create or replace function aiserv._cursor(name aiserv._cursor_name)
returns jsonb
language sql
stable
as $$
    -- As nearly always there is none, and this is all that it costs.
    select case
        when current_setting(_cursor.name::text, true) <> '' then aiserv._checked_cursor(current_setting(_cursor.name::text))
    end;
$$;

comment on function aiserv._cursor is
'Where the looks of this session have come to, while it pays to begin there: those of claims in each lane, those for leases that run
out, those for jobs to prune. Null is the head, as nearly always. Without a search path of its own, so that the planner can inline
it.';
