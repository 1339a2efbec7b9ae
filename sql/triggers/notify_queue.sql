create or replace function aiserv._notify_queue()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    perform pg_notify('aiserv_ready', new.model_profile);
    return null;
end;
$$;

comment on function aiserv._notify_queue is
'Tell workers that a queue was resumed or its limits changed. Named columns only: claims write the balances all the time.';

create or replace trigger _200_notify_queue
after update of paused, paused_until, max_running, requests_per_minute, tokens_per_minute on aiserv.queue_setting
for each row
execute function aiserv._notify_queue();
