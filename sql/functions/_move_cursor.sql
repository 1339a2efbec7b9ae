create or replace function aiserv._move_cursor(
    cursor  jsonb,
    job_ids uuid[]
)
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    perform aiserv._keep_cursor('aiserv.claim_cursor', _move_cursor.cursor, jsonb_build_object(
        'lanes', coalesce(_move_cursor.cursor -> 'lanes', '{}') || (
            select jsonb_object_agg(lane.key, lane.place)
            from (
                select
                    jsonb_build_array(job.model_profile, job.task_type, job.priority, job.owner_service)::text as key,
                    (array_agg(jsonb_build_array(job.run_at, job.id) order by job.run_at desc, job.id desc))[1] as place
                from aiserv.job as job
                where job.id = any(_move_cursor.job_ids)
                group by job.model_profile, job.task_type, job.priority, job.owner_service
            ) as lane
        )
    ));
end;
$$;

comment on function aiserv._move_cursor is
'Let the next claims of this session begin after these jobs, just claimed, for up to five seconds.';
