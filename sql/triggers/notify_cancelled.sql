create or replace function aiserv._notify_cancelled()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    perform pg_notify('aiserv_cancelled', string_agg(chunk.job_id::text, ','))
    from (
        select moved.job_id, (row_number() over () - 1) / 200 as number
        from moved
        where moved.outcome in ('cancelled', 'superseded', 'lease_expired')
    ) as chunk
    group by chunk.number;
    return null;
end;
$$;

comment on function aiserv._notify_cancelled is
'Tell workers which running jobs were cancelled or taken away: ids, comma-separated, up to 200 a notification.';

create or replace trigger _200_notify_cancelled
after insert on aiserv.attempt
referencing new table as moved
for each statement
execute function aiserv._notify_cancelled();
