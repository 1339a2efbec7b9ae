create or replace function aiserv._read_settlements(
    settlements    json,
    fenced         boolean,
    out items      json[],
    out job_ids    uuid[],
    out attempts   integer[],
    out worker_ids text[],
    out results    json[],
    out usages     json[]
)
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    are_right boolean;
begin
    -- One pass for all, and for all that is right and completes no call for each. A result is sliced out by itself:
    -- json_to_recordset would write the strings anew.
    select
        coalesce(array_agg(item.value), '{}'), coalesce(array_agg(item.id), '{}'), coalesce(array_agg(item.attempt), '{}'),
        coalesce(array_agg(item.worker_id), '{}'), coalesce(array_agg(item.result), '{}'), coalesce(array_agg(item.usage), '{}'),
        coalesce(bool_and(
            item.id is not null
            and (item.attempt is not null or not _read_settlements.fenced)
            and item.result is not null
            and (item.usage is null or json_typeof(item.usage) = 'object')
        ), true)
    into _read_settlements.items, _read_settlements.job_ids, _read_settlements.attempts, _read_settlements.worker_ids,
        _read_settlements.results, _read_settlements.usages, are_right
    from (
        select each.value, each.id, each.attempt, each.worker_id, each.usage, each.value -> 'result' as result
        from rows from (
            json_array_elements(_read_settlements.settlements),
            json_to_recordset(_read_settlements.settlements) as (id uuid, attempt integer, worker_id text, usage json)
        ) as each(value, id, attempt, worker_id, usage)
        -- A result is looked for once, and used twice.
        offset 0
    ) as item;

    -- Only what is escaped can be what PostgreSQL cannot store.
    if are_right is not true or strpos(_read_settlements.settlements::text, '\u') > 0 then
        perform aiserv._check_settlement(each.item, each.position, _read_settlements.fenced)
        from unnest(_read_settlements.items) with ordinality as each(item, position);
    end if;
exception
    when data_exception then
        -- Whose id is none, or who is no object? The slower look names the item.
        perform aiserv._check_settlement(each.value, each.position, _read_settlements.fenced)
        from json_array_elements(_read_settlements.settlements) with ordinality as each(value, position);
        raise;
end;
$$;

comment on function aiserv._read_settlements is
'The items of settle_jobs in columns, in order: a result of null is one that fails. Raises JV400, naming the item, when one makes no sense.';
