create or replace function aiserv._owner_key(owner_service text)
returns bigint
language sql
immutable
as $$
    select hashtextextended(_owner_key.owner_service, 0);
$$;

comment on function aiserv._owner_key is
'The number under which the jobs of an owner lie in aiserv.ready. Should two owners ever share one, one takes turns after the other
has no more jobs. Without a search path of its own, so that the planner can inline it.';
