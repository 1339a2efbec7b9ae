create or replace function aiserv.matching_jobs(
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
    after          uuid        default null
)
returns setof uuid
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
declare
    filter aiserv._filter;
begin
    filter := aiserv._check_filter((
        matching_jobs.id, matching_jobs.owner_service, matching_jobs.owner_ref, matching_jobs.task_type, matching_jobs.model_profile,
        matching_jobs.status, matching_jobs.error_category, matching_jobs.worker_id, matching_jobs.batch_id, matching_jobs.created_after,
        matching_jobs.created_before
    )::aiserv._filter);
    return query select unnest(aiserv._matching_ids(filter, matching_jobs.after, 'oldest', matching_jobs.max_jobs));
end;
$$;

comment on function aiserv.matching_jobs is
'The ids of the jobs that match all conditions given, as list_jobs takes them: oldest first, up to max_jobs, past the id after.
Raises JV400 (an empty array, an unknown status).';
