create or replace function aiserv._pages(
    relation regclass,
    key      regclass
)
returns bigint
language sql
volatile
as $$
    select pg_stat_get_xact_blocks_fetched(_pages.relation) + pg_stat_get_xact_blocks_fetched(_pages.key);
$$;

comment on function aiserv._pages is
'How many pages of a table and its key this session has read lately. Its growth is the cost of what was done between. Without a
search path of its own, so that the planner can inline it.';
