create or replace function aiserv._notify_finished()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    -- 200 ids of 36 characters stay below the 8,000 bytes of a payload.
    perform pg_notify('aiserv_finished', string_agg(chunk.id::text, ','))
    from (
        select moved.id, (row_number() over () - 1) / 200 as number from moved where moved.outcome is not null
    ) as chunk
    group by chunk.number;
    return null;
end;
$$;

comment on function aiserv._notify_finished is
'Tell servers which jobs have reached a final state: ids, comma-separated, up to 200 a notification.';

create or replace trigger _200_notify_finished
after update on aiserv.job
referencing new table as moved
for each statement
execute function aiserv._notify_finished();
