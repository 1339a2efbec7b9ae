create or replace function aiserv._lowest_id(moment timestamptz)
returns uuid
language sql
immutable
set search_path = pg_temp
as $$
    select encode(int8send((floor(extract(epoch from _lowest_id.moment) * 1000))::bigint << 16) || '\x0000000000000000', 'hex')::uuid;
$$;

comment on function aiserv._lowest_id is 'The id below all that were made since the moment.';
