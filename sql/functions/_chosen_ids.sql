create or replace function aiserv._chosen_ids(
    filter   aiserv._filter,
    max_jobs integer
)
returns uuid[]
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    conditions aiserv._filter := filter;
begin
    conditions.id := null;
    conditions.status := null;
    -- Named one by one: the verb finds out for itself where they lie.
    if filter.id is not null and conditions is null and _chosen_ids.max_jobs is null then
        return filter.id;
    end if;
    return aiserv._matching_ids(filter, null, 'oldest', _chosen_ids.max_jobs);
end;
$$;

comment on function aiserv._chosen_ids is
'The ids of up to max_jobs jobs that a bulk verb is to try, oldest first; ids that were named come back as they are: some may be of
no job, or of one with another status.';
