create or replace function aiserv._id_at(micros bigint)
returns uuid
language sql
volatile
as $$
    -- RFC 9562, version 7: 48 bits of milliseconds, then 12 bits that hold the microseconds, so that ids made together
    -- sort in their order; then the variant, and random bits. PostgreSQL seeds random() for each connection from the
    -- system's entropy, and a call of that for each id would cost more than the rest of the id.
    select encode(
        int8send(((_id_at.micros / 1000) << 16) | x'7000'::bigint | ((_id_at.micros % 1000) * 4096 / 1000))
            || int8send(
                x'8000000000000000'::bigint | ((random() * x'7fffffff'::bigint)::bigint << 31)
                    | (random() * x'7fffffff'::bigint)::bigint
            ),
        'hex'
    )::uuid;
$$;

comment on function aiserv._id_at is
'A new UUIDv7 for a time in microseconds since 1970. Without a search path of its own, so that the planner can inline it.';
