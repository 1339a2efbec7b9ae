create or replace function aiserv.retry_jobs(
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
    max_jobs       integer     default null,
    match_all      boolean     default false,
    actor          text        default null
)
returns setof aiserv.jobs
language plpgsql
security definer
set search_path = pg_temp
as $$
declare
    filter aiserv._filter := (
        retry_jobs.id, retry_jobs.owner_service, retry_jobs.owner_ref, retry_jobs.task_type,
        retry_jobs.model_profile, retry_jobs.status, retry_jobs.error_category, retry_jobs.worker_id,
        retry_jobs.batch_id, retry_jobs.created_after, retry_jobs.created_before
    );
    matching uuid[];
    retried  uuid[] := array[]::uuid[];
begin
    perform aiserv._check_bulk(filter, '{failed,running}', retry_jobs.max_jobs, retry_jobs.match_all);
    filter.status := coalesce(filter.status, '{failed,running}');
    matching := aiserv._chosen_ids(filter, retry_jobs.max_jobs);
    -- A job may be recovered and claimed again, or fail, while a pass waits for its lease: who is left without a reason gets another.
    for pass in 1..10 loop
        retried := retried || aiserv._retry(matching, filter.status);
        filter.id := array(select unnest(matching) except select unnest(retried));
        exit when filter.id = '{}';
        matching := aiserv._matching_ids(filter, null, 'oldest', null);
        exit when matching = '{}';
    end loop;
    perform aiserv._record_action('retry', retry_jobs.actor, retried);

    return query
    select job.*
    from unnest(retried) as reached(id)
    cross join lateral (select shown.* from aiserv.jobs as shown where shown.id = reached.id limit 1) as job
    order by job.id;
end;
$$;

comment on function aiserv.retry_jobs is
'Retry, as retry_job does, all jobs that match all conditions given, each an array of which any may match, oldest first, up to
max_jobs, in the caller''s transaction; returns them. Without status failed and running are meant.
aiserv.actions remembers the actor, who asks for it, and the jobs.
Raises JE400 (no condition and not match_all => true), JV400 (an empty array, a status it cannot act on, max_jobs under 1).';
