create or replace function aiserv._backoff(failures integer)
returns interval
language sql
volatile
set search_path = pg_temp
as $$
    -- Exponential with equal jitter, as in "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
    select least(2 ^ _backoff.failures, 600) * (0.5 + random() / 2) * interval '1 second';
$$;

comment on function aiserv._backoff is
'How long a job waits after its so-many-th failure: 2, 4, 8 … seconds, at most 10 minutes, each cut by up to a half at random.';
