create or replace function aiserv._parse_each(
    jobs        json,
    out items   aiserv._new_job[],
    out refused aiserv._refusal[]
)
language plpgsql
set search_path = ''
as $$
declare
    number  integer := json_array_length(_parse_each.jobs);
    item    record;
    unsound record;
begin
    refused := array_fill(null::aiserv._refusal, array[number]);
    begin
        items := aiserv._new_jobs(_parse_each.jobs);
    exception
        when sqlstate 'JV400' then
            items := array_fill(null::aiserv._new_job, array[number]);
            for item in select part.value, part.ordinality as place from json_array_elements(_parse_each.jobs) with ordinality as part loop
                begin
                    items[item.place] := aiserv._parse_new_job(item.value, item.place);
                exception
                    when sqlstate 'JV400' then
                        refused[item.place] := ('JV400', regexp_replace(sqlerrm, '^jobs\[\d+\](\.|: )', ''), null, null);
                end;
            end loop;
    end;

    for unsound in select found.place, found.complaint from aiserv._unsound(items) as found loop
        if refused[unsound.place] is null then
            refused[unsound.place] := ('JV400', unsound.complaint, null, null);
            items[unsound.place] := null;
        end if;
    end loop;
end;
$$;

comment on function aiserv._parse_each is 'The jobs of create_each as records, null where one makes no sense, and then why.';
