create or replace function aiserv.cancel_jobs(
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
    reason         text        default null,
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
        cancel_jobs.id, cancel_jobs.owner_service, cancel_jobs.owner_ref, cancel_jobs.task_type,
        cancel_jobs.model_profile, cancel_jobs.status, cancel_jobs.error_category, cancel_jobs.worker_id,
        cancel_jobs.batch_id, cancel_jobs.created_after, cancel_jobs.created_before
    );
    matching  uuid[];
    cancelled uuid[] := array[]::uuid[];
begin
    perform aiserv._check_bulk(filter, '{pending,running}', cancel_jobs.max_jobs, cancel_jobs.match_all);
    filter.status := coalesce(filter.status, '{pending,running}');
    matching := aiserv._chosen_ids(filter, cancel_jobs.max_jobs);
    -- A job may be released or promoted between two statements of a pass: who is left without a reason gets another.
    for pass in 1..10 loop
        cancelled := cancelled || aiserv._cancel(matching, cancel_jobs.reason, filter.status);
        filter.id := array(select unnest(matching) except select unnest(cancelled));
        exit when filter.id = '{}';
        matching := aiserv._matching_ids(filter, null, 'oldest', null);
        exit when matching = '{}';
    end loop;
    perform aiserv._record_action('cancel', cancel_jobs.actor, cancelled, reason => cancel_jobs.reason);

    return query
    select job.*
    from unnest(cancelled) as reached(id)
    cross join lateral (select shown.* from aiserv.jobs as shown where shown.id = reached.id limit 1) as job
    order by job.id;
end;
$$;

comment on function aiserv.cancel_jobs is
'Cancel, as cancel_job does, all jobs that match all conditions given, each an array of which any may match, oldest first, up to
max_jobs, in the caller''s transaction; returns them. Without status pending and running are meant.
aiserv.actions remembers the actor, who asks for it, and the jobs.
Raises JE400 (no condition and not match_all => true), JV400 (an empty array, a status it cannot act on, max_jobs under 1).';
