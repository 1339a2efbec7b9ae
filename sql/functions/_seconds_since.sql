create or replace function aiserv._seconds_since(
    earlier timestamptz,
    moment  timestamptz
)
returns double precision
language sql
immutable
strict
set search_path = pg_temp
as $$
    select greatest(extract(epoch from _seconds_since.moment - _seconds_since.earlier), 0)::double precision;
$$;

comment on function aiserv._seconds_since is
'Seconds from the earlier time to the moment, at least 0; null without an earlier time.';
