create or replace function aiserv.count_jobs(
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
    created_before timestamptz default null
)
returns bigint
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
declare
    filter aiserv._filter;
begin
    filter := aiserv._check_filter((
        count_jobs.id, count_jobs.owner_service, count_jobs.owner_ref, count_jobs.task_type, count_jobs.model_profile,
        count_jobs.status, count_jobs.error_category, count_jobs.worker_id, count_jobs.batch_id, count_jobs.created_after,
        count_jobs.created_before
    )::aiserv._filter, '{pending,running,completed,failed,cancelled}');
    return cardinality(aiserv._matching_ids(filter, null, 'newest', null));
end;
$$;

comment on function aiserv.count_jobs is
'How many jobs match all conditions given, as list_jobs takes them. It looks at every one of them; stats counts without looking.
Raises JV400 (an empty array, an unknown status).';
