create or replace function aiserv._move_cursor(
    cursor  jsonb,
    job_ids uuid[]
)
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    perform set_config('aiserv.cursor', jsonb_build_object(
        -- From time to time a look from the head finds what lies before: retried, released, or committed late.
        'until', coalesce(_move_cursor.cursor -> 'until', to_jsonb(clock_timestamp() + interval '5 seconds')),
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
    )::text, false);
end;
$$;

comment on function aiserv._move_cursor is 'Let the next claims of this session begin after these jobs, just claimed, for up to five seconds.';
