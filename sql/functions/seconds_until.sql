create or replace function aiserv.seconds_until(moment timestamptz)
returns double precision
language plpgsql
volatile
set search_path = pg_temp
as $$
begin
    return extract(epoch from seconds_until.moment - clock_timestamp());
end;
$$;

comment on function aiserv.seconds_until is
'Seconds until a moment by PostgreSQL''s clock, negative when it has passed: a client''s clock may differ.';
