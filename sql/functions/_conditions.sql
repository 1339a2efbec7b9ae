create or replace function aiserv._conditions(
    filter aiserv._filter,
    after  uuid,
    sort   text
)
returns text
language plpgsql
immutable
set search_path = pg_temp
as $$
declare
    conditions text;
begin
    -- Only what was given, so that each combination gets a plan of its own. No value is ever part of the text.
    select coalesce(string_agg(given.condition, ' and '), 'true') into conditions
    from (
        values
            ('job.id = any($1.id)', filter.id is not null),
            ('job.owner_service = any($1.owner_service)', filter.owner_service is not null),
            ('job.owner_ref = any($1.owner_ref)', filter.owner_ref is not null),
            ('job.task_type = any($1.task_type)', filter.task_type is not null),
            ('job.model_profile = any($1.model_profile)', filter.model_profile is not null),
            ('job.error_category = any($1.error_category)', filter.error_category is not null),
            ('job.batch_id = any($1.batch_id)', filter.batch_id is not null),
            ('job.created_at >= $1.created_after', filter.created_after is not null),
            ('job.created_at < $1.created_before', filter.created_before is not null),
            (
                '(job.worker_id = any($1.worker_id) or exists ('
                'select from aiserv.lease as holder where holder.job_id = job.id and holder.worker_id = any($1.worker_id)))',
                filter.worker_id is not null
            ),
            ('job.id < $2', _conditions.after is not null and _conditions.sort = 'newest'),
            ('job.id > $2', _conditions.after is not null and _conditions.sort = 'oldest')
    ) as given(condition, applies)
    where given.applies;
    return conditions;
end;
$$;

comment on function aiserv._conditions is 'The conditions of a filter ($1) and a position ($2) as SQL on aiserv.job as job.';
