create or replace function aiserv.new_id(
    at      timestamptz default clock_timestamp(),
    ordinal integer     default 0
)
returns uuid
language sql
volatile
set search_path = ''
as $$
    -- RFC 9562, version 7: 48 bits of milliseconds, then 12 bits that hold the microseconds, so that the
    -- ids of one batch sort in its order. The lower half of a random uuid has the right variant bits.
    select encode(
        int8send(((moment.micros / 1000) << 16) | x'7000'::bigint | ((moment.micros % 1000) * 4096 / 1000))
            || substring(uuid_send(gen_random_uuid()) from 9),
        'hex'
    )::uuid
    from (select (extract(epoch from new_id.at) * 1000000)::bigint + new_id.ordinal as micros) as moment;
$$;

comment on function aiserv.new_id is
'A new UUIDv7, as job and batch ids are: sorts by time, to the microsecond.
ordinal counts microseconds onto the time, for ids that are made together and must sort in order.';
