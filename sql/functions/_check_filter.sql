create or replace function aiserv._check_filter(
    filter   aiserv._filter,
    statuses text[] default '{pending,running,completed,failed,cancelled}'
)
returns aiserv._filter
language plpgsql
immutable
set search_path = pg_temp
as $$
declare
    complaint text;
begin
    select format('%s: must have at least one value', given.name) into complaint
    from (
        values
            ('id', cardinality(filter.id)), ('owner_service', cardinality(filter.owner_service)),
            ('owner_ref', cardinality(filter.owner_ref)), ('task_type', cardinality(filter.task_type)),
            ('model_profile', cardinality(filter.model_profile)), ('status', cardinality(filter.status)),
            ('error_category', cardinality(filter.error_category)), ('worker_id', cardinality(filter.worker_id)),
            ('batch_id', cardinality(filter.batch_id))
    ) as given(name, length)
    where given.length = 0
    limit 1;
    if not filter.status <@ _check_filter.statuses then
        complaint := format('status: must be one of %s', array_to_string(_check_filter.statuses, ', '));
    end if;
    if complaint is not null then
        raise exception using errcode = 'JV400', message = complaint;
    end if;
    return filter;
end;
$$;

comment on function aiserv._check_filter is
'The filter itself, or JV400 for an empty array or a status that is not among statuses.';
