create or replace function aiserv._is_storable(document json)
returns boolean
language plpgsql
immutable
set search_path = pg_temp
as $$
declare
    escapes text := _is_storable.document::text;
begin
    if strpos(escapes, '\u') = 0 or escapes !~ '\\u(0000|[dD][89a-fA-F])' then
        return true;
    end if;
    -- An escaped backslash is no escape; a high surrogate followed by a low one is a character.
    escapes := regexp_replace(escapes, '\\\\', '', 'g');
    escapes := regexp_replace(escapes, '\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}', '', 'g');
    return escapes !~ '\\u(0000|[dD][89a-fA-F])';
end;
$$;

comment on function aiserv._is_storable is
'Whether the strings of a JSON document are text: no NUL and no lone surrogate, which the type json lets pass and readers choke
on.';
