create or replace function aiserv._provider_pause(
    pauses      integer,
    retry_after interval
)
returns interval
language sql
volatile
set search_path = pg_temp
as $$
    -- Exponential with equal jitter, as aiserv._backoff; but jobs wait here that have done nothing wrong.
    select coalesce(
        nullif(_provider_pause.retry_after, interval '0'),
        least(2 ^ least(_provider_pause.pauses - 1, 10), 10) * (0.5 + random() / 2) * interval '1 second'
    );
$$;

comment on function aiserv._provider_pause is
'How long a provider is left alone at the so-many-th report of its trouble: as long as it asks, else 1, 2, 4, 8, 10, 10 … seconds,
each cut by up to a half at random.';
