create or replace function aiserv._finished_since(since timestamptz)
returns setof aiserv.delta
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    if _finished_since.since is null then
        return;
    end if;
    return query
    select tally.*
    from aiserv.tally as tally
    where tally.minute >= date_bin('1 minute', _finished_since.since, 'epoch') and tally.minute > '-infinity'
    union all
    select delta.*
    from aiserv.delta as delta
    where delta.minute >= date_bin('1 minute', _finished_since.since, 'epoch');
end;
$$;

comment on function aiserv._finished_since is
'The counters of the minutes since then, folded or not, to be summed; none without since.';
