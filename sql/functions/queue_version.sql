create or replace function aiserv.queue_version(queue aiserv.queue)
returns text
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return coalesce((extract(epoch from queue.updated_at) * 1000000)::bigint, 0)::text;
end;
$$;

comment on function aiserv.queue_version is
'What tells one state of the settings of a queue from another: the ETag of the HTTP API. Its numbers change all the time and do not
count.';
