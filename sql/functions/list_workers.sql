create or replace function aiserv.list_workers()
returns setof aiserv.workers
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
    return query
    select worker.* from aiserv.workers as worker order by worker.worker_id, worker.started_at;
end;
$$;

comment on function aiserv.list_workers is 'The workers seen in the last day, live or lost, with the jobs they hold.';
