create or replace function aiserv._read_settlements(
    settlements    json,
    fenced         boolean,
    out items      json[],
    out complaints text[],
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
    begin
        -- As nearly always: all are right, and complete. Then one pass reads them, which leaves results as they were sent, but for
        -- those that are a string or null. Only what is escaped can be what PostgreSQL cannot store.
        if strpos(_read_settlements.settlements::text, '\u') = 0 then
            select
                coalesce(array_agg(item.id), '{}'), coalesce(array_agg(item.attempt), '{}'), coalesce(array_agg(item.worker_id), '{}'),
                coalesce(array_agg(item.result), '{}'), coalesce(array_agg(item.usage), '{}'),
                coalesce(bool_and(
                    item.id is not null
                    and (item.attempt is not null or not _read_settlements.fenced)
                    and item.result is not null
                    and ascii(item.result::text) <> ascii('"')
                    and (item.usage is null or json_typeof(item.usage) = 'object')
                ), true)
            into _read_settlements.job_ids, _read_settlements.attempts, _read_settlements.worker_ids, _read_settlements.results,
                _read_settlements.usages, are_right
            from json_to_recordset(_read_settlements.settlements)
                as item(id uuid, attempt integer, worker_id text, result json, usage json);
            if are_right then
                return;
            end if;
        end if;
    exception
        when data_exception then
            null;
    end;

    -- One by one: of those that make no sense nothing is read, and of the others the result is sliced out by itself.
    _read_settlements.items := array(
        select sent.item
        from json_array_elements(_read_settlements.settlements) with ordinality as sent(item, position)
        order by sent.position
    );
    _read_settlements.complaints := array(
        select aiserv._settlement_complaint(each.item, _read_settlements.fenced)
        from unnest(_read_settlements.items) with ordinality as each(item, position)
        order by each.position
    );
    select
        array_agg((sound.item ->> 'id')::uuid order by each.position), array_agg((sound.item ->> 'attempt')::integer order by each.position),
        array_agg(sound.item ->> 'worker_id' order by each.position), array_agg(sound.item -> 'result' order by each.position),
        array_agg(nullif((sound.item -> 'usage')::text, 'null')::json order by each.position)
    into _read_settlements.job_ids, _read_settlements.attempts, _read_settlements.worker_ids, _read_settlements.results,
        _read_settlements.usages
    from unnest(_read_settlements.items, _read_settlements.complaints) with ordinality as each(item, complaint, position)
    cross join lateral (select case when each.complaint is null then each.item end) as sound(item);
end;
$$;

comment on function aiserv._read_settlements is
'The items of settle_jobs in columns, in order: a result of null is one that fails. complaints says of each what makes no sense about
it; items and complaints are null when all make sense and complete.';
