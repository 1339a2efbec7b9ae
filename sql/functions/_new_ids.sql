create or replace function aiserv._new_ids(
    at     timestamptz,
    number integer
)
returns uuid[]
language plpgsql
volatile
set search_path = ''
as $$
begin
    -- RFC 9562, version 7: 48 bits of milliseconds, then 12 bits that hold the microseconds, so that ids made together
    -- sort in their order; then the variant, and random bits. PostgreSQL seeds random() for each connection from the
    -- system's entropy, and a call of that for each id would cost more than the rest of the id.
    return array(
        select encode(
            int8send(((moment.micros / 1000) << 16) | x'7000'::bigint | ((moment.micros % 1000) * 4096 / 1000))
                || int8send(
                    x'8000000000000000'::bigint | ((random() * x'7fffffff'::bigint)::bigint << 31)
                        | (random() * x'7fffffff'::bigint)::bigint
                ),
            'hex'
        )::uuid
        from (
            select (extract(epoch from _new_ids.at) * 1000000)::bigint + position
            from generate_series(0, _new_ids.number - 1) as position
        ) as moment(micros)
    );
end;
$$;

comment on function aiserv._new_ids is 'New UUIDv7s, a microsecond apart: they sort in their order.';
