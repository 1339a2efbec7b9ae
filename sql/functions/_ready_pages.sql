create or replace function aiserv._ready_pages()
returns bigint
language sql
volatile
as $$
    select pg_stat_get_xact_blocks_fetched('aiserv.ready'::regclass) + pg_stat_get_xact_blocks_fetched('aiserv.ready_pkey'::regclass);
$$;

comment on function aiserv._ready_pages is 'How many pages of aiserv.ready and its key this session has read lately. Its growth is the cost of what was done between.
Without a search path of its own, so that the planner can inline it.';
