create or replace function aiserv.list_page(
    id             uuid[]      default null,
    owner_service  text[]      default null,
    owner_ref      text[]      default null,
    task_type      text[]      default null,
    model_profile  text[]      default null,
    status         text[]      default null,
    error_category text[]      default null,
    worker_id      text[]      default null,
    batch_id       uuid[]      default null,
    created_after  timestamptz default null,
    created_before timestamptz default null,
    max_jobs       integer     default 100,
    sort           text        default 'newest',
    after          uuid        default null,
    summary        boolean     default false
)
returns setof aiserv.jobs
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
declare
    shown aiserv.jobs;
    bytes bigint := 0;
begin
    for shown in
        select listed.*
        from aiserv.list_jobs(
            list_page.id, list_page.owner_service, list_page.owner_ref, list_page.task_type, list_page.model_profile,
            list_page.status, list_page.error_category, list_page.worker_id, list_page.batch_id, list_page.created_after,
            list_page.created_before, list_page.max_jobs, list_page.sort, list_page.after
        ) as listed
    loop
        return next shown;
        if not list_page.summary then
            bytes := bytes + octet_length(shown.input::text) + coalesce(octet_length(shown.result::text), 0)
                + coalesce(octet_length(shown.progress::text), 0);
        end if;
        exit when bytes >= 64 * 1024 * 1024;
    end loop;
end;
$$;

comment on function aiserv.list_page is
'What list_jobs returns, cut short after 64 MiB of payload; a summary has none and is not cut. Raises what list_jobs raises.';
