create or replace function aiserv.settle_jobs(settlements json)
returns setof aiserv.settlement
language plpgsql
security definer
set search_path = ''
as $$
declare
    items     json[];
    completed uuid[];
begin
    if json_typeof(settle_jobs.settlements) is distinct from 'array' then
        raise exception using errcode = 'JV400', message = 'settlements: must be an array';
    end if;
    select coalesce(array_agg(each.value order by each.ordinality), '{}') into items
    from json_array_elements(settle_jobs.settlements) with ordinality as each;
    perform aiserv._check_settlement(each.item, each.ordinality)
    from unnest(items) with ordinality as each(item, ordinality);

    -- Completions are the rule: they go together, in one statement.
    select aiserv._complete(
        array_agg((each.item ->> 'id')::uuid), array_agg((each.item ->> 'attempt')::integer),
        array_agg(null::text), array_agg(each.item -> 'result'), array_agg(nullif((each.item -> 'usage')::text, 'null')::json)
    ) into completed
    from unnest(items) as each(item)
    where each.item -> 'result' is not null;

    return query
    with answered as materialized (
        select
            each.position,
            case
                when (each.item -> 'result') is null then aiserv._settle_failure(each.item)
                when done.job_id is not null then (done.job_id, 'completed', null, null, null)::aiserv.settlement
                else aiserv._completion_answer(each.id, (each.item ->> 'attempt')::integer, null, each.item -> 'result')
            end as answer
        from (
            select listed.item, listed.position, (listed.item ->> 'id')::uuid as id
            from unnest(items) with ordinality as listed(item, position)
            order by 3
        ) as each
        left join unnest(completed) as done(job_id) on done.job_id = each.id
    )
    select (answered.answer).*
    from answered
    order by answered.position;
end;
$$;

comment on function aiserv.settle_jobs is
'Complete and fail many jobs in one transaction. settlements is a JSON array of {"id", "attempt", "result", "usage"?} and
{"id", "attempt", "category", "message", "retryable"?, "retry_after"?, "usage"?}. Returns in order what became of each: its status,
or the code, detail and hint of a refusal; one refused item fails alone.
Raises JV400 (an item that makes no sense, naming it).';
