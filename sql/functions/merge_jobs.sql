create or replace function aiserv.merge_jobs(
    defaults json,
    item     json
)
returns json
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    merged json;
begin
    select json_object_agg(
        field.key,
        case
            when field.key = 'input' and json_typeof(base.value) = 'object' and json_typeof(field.value) = 'object'
                then aiserv.merge_objects(base.value, field.value)
            else field.value
        end
    ) into merged
    from (
        select own.key, own.value, true as is_own from json_each(merge_jobs.item) as own
        union all
        select inherited.key, inherited.value, false
        from json_each(merge_jobs.defaults) as inherited
        where not exists (select from json_each(merge_jobs.item) as own where own.key = inherited.key)
    ) as field
    -- What is inherited whole keeps its text: there is nothing to merge it with.
    left join json_each(merge_jobs.defaults) as base on base.key = field.key and field.is_own;
    return coalesce(merged, '{}');
end;
$$;

comment on function aiserv.merge_jobs is
'The item over the defaults, key by key, null counting as given. Two input objects merge by their top-level keys; values keep their
text.';
