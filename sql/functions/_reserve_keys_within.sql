create or replace function aiserv._reserve_keys_within(
    items    aiserv._new_job[],
    job_ids  uuid[],
    patience interval
)
returns uuid[]
language plpgsql
set search_path = ''
set lock_timeout = '100ms'
as $$
declare
    -- None at all would mean for ever.
    milliseconds integer := greatest(ceil(extract(epoch from _reserve_keys_within.patience) * 1000), 1);
begin
    -- Until the function returns: it has a lock_timeout of its own.
    perform set_config('lock_timeout', milliseconds::text, true);
    return aiserv._reserve_keys(_reserve_keys_within.items, _reserve_keys_within.job_ids);
exception
    when lock_not_available or deadlock_detected then
        return null;
end;
$$;

comment on function aiserv._reserve_keys_within is
'What _reserve_keys returns; null, and nothing reserved, when another transaction holds one of the keys for longer than that.';
