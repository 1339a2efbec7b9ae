create or replace function aiserv.new_id(at timestamptz default clock_timestamp())
returns uuid
language plpgsql
volatile
security definer
set search_path = ''
as $$
begin
    return (aiserv._new_ids(new_id.at, 1))[1];
end;
$$;

comment on function aiserv.new_id is 'A new UUIDv7, as job and batch ids are: sorts by time, to the microsecond.';
