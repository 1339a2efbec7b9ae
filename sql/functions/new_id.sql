create or replace function aiserv.new_id(at timestamptz default clock_timestamp())
returns uuid
language plpgsql
volatile
security definer
set search_path = pg_temp
as $$
declare
    micros bigint := extract(epoch from new_id.at) * 1000000;
begin
    return aiserv._id_at(micros);
end;
$$;

comment on function aiserv.new_id is 'A new UUIDv7, as job and batch ids are: sorts by time, to the microsecond.';
