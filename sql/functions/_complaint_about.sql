create or replace function aiserv._complaint_about(
    jobs     json,
    defaults json default null
)
returns text
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    sent      record;
    item      aiserv._new_job;
    unknown   text;
    complaint text;
begin
    for sent in
        select part.value, format('jobs[%s]', part.place - 1) as name
        from json_array_elements(_complaint_about.jobs) with ordinality as part(value, place)
        order by part.place
    loop
        if json_typeof(sent.value) <> 'object' then
            return format('%s: must be an object', sent.name);
        end if;
        begin
            if _complaint_about.defaults is not null then
                sent.value := aiserv.merge_jobs(_complaint_about.defaults, sent.value);
            end if;
            select field.name into unknown
            from json_object_keys(sent.value) as field(name)
            where not aiserv._is_field(field.name)
            limit 1;
            if found then
                return format('%s.%s: unknown field', sent.name, unknown);
            end if;
            item := json_populate_record(null::aiserv._new_job, sent.value);
        exception
            when data_exception then
                return format('%s: %s', sent.name, sqlerrm);
        end;
        item.owner_ref := coalesce(item.owner_ref, '');
        item.input := coalesce(item.input, '{}');
        item.priority := coalesce(item.priority, 0);
        item.max_attempts := coalesce(item.max_attempts, 3);
        item.metadata := coalesce(item.metadata, '{}');
        complaint := aiserv._complaint(item);
        if complaint is not null then
            return case when json_array_length(_complaint_about.jobs) > 1 then sent.name || '.' else '' end || complaint;
        end if;
    end loop;
    return null;
end;
$$;

comment on function aiserv._complaint_about is
'The first of the items of create_jobs that makes no sense, over what they share, and why, naming the field; null if all do.';
