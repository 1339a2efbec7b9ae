create or replace function aiserv.list_jobs(
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
    max_bytes      bigint      default null
)
returns setof aiserv.jobs
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
declare
    filter   aiserv._filter;
    matching uuid[];
    shown    aiserv.jobs;
    bytes    bigint := 0;
begin
    if (list_jobs.max_jobs between 1 and 1001) is not true then
        raise exception using errcode = 'JV400', message = 'max_jobs: must be from 1 to 1001';
    elsif (list_jobs.sort in ('newest', 'oldest')) is not true then
        raise exception using errcode = 'JV400', message = 'sort: must be newest or oldest';
    end if;
    filter := aiserv._check_filter((
        list_jobs.id, list_jobs.owner_service, list_jobs.owner_ref, list_jobs.task_type, list_jobs.model_profile,
        list_jobs.status, list_jobs.error_category, list_jobs.worker_id, list_jobs.batch_id, list_jobs.created_after,
        list_jobs.created_before
    )::aiserv._filter);

    -- Not in the query itself: the planner would call it, too, to guess how many there are.
    matching := aiserv._matching_ids(filter, list_jobs.after, list_jobs.sort, list_jobs.max_jobs);
    for shown in
        select job.*
        from unnest(matching) with ordinality as listed(id, position)
        join aiserv.jobs as job on job.id = listed.id
        order by listed.position
    loop
        return next shown;
        if list_jobs.max_bytes is not null then
            bytes := bytes + octet_length(shown.input::text) + coalesce(octet_length(shown.result::text), 0)
                + coalesce(octet_length(shown.progress::text), 0);
            exit when bytes >= list_jobs.max_bytes;
        end if;
    end loop;
end;
$$;

comment on function aiserv.list_jobs is
'Jobs that match all conditions given, each an array of which any may match; newest first, or oldest. after is the id of the last
job of the page before. The page ends with the job whose payloads (input, result, progress) fill up max_bytes, if that is given.
Raises JV400 (an empty array, an unknown status, max_jobs over 1001, an unknown sort).';
