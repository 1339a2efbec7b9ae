create or replace function aiserv.merge_objects(
    base json,
    over json
)
returns json
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    -- Without the space around them, which json_each and its like leave out, too.
    inherited text := btrim(merge_objects.base::text, e' \t\r\n');
    own       text := btrim(merge_objects.over::text, e' \t\r\n');
begin
    if array(select json_object_keys(merge_objects.base)) && array(select json_object_keys(merge_objects.over)) then
        return (
            select json_object_agg(part.key, part.value)
            from (
                select kept.key, kept.value
                from json_each(merge_objects.base) as kept
                where not exists (select from json_each(merge_objects.over) as given where given.key = kept.key)
                union all
                select given.key, given.value from json_each(merge_objects.over) as given
            ) as part
        );
    end if;
    -- Nothing is replaced: the members of both stand one after the other, and no value is read.
    return (case
        when inherited ~ '^{\s*}$' then own
        when own ~ '^{\s*}$' then inherited
        else concat(left(inherited, -1), ',', substr(own, 2))
    end)::json;
end;
$$;

comment on function aiserv.merge_objects is
'Two JSON objects as one: the members of the first that the second has not, then those of the second. Values keep their text.';
