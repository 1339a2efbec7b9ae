create or replace function aiserv._owner_key(owner_service text)
returns bigint
language sql
immutable
parallel safe
as $$
    select hashtextextended(_owner_key.owner_service, 0);
$$;

comment on function aiserv._owner_key is
'The number under which the jobs of an owner lie in aiserv.ready. Should two owners share one, a claim sees one of the two, and
gives the jobs of the other when that one has none. Without a search path of its own, so that the planner can inline it.';
