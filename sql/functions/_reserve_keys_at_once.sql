create or replace function aiserv._reserve_keys_at_once(
    items   aiserv._new_job[],
    job_ids uuid[]
)
returns uuid[]
language plpgsql
set search_path = ''
set lock_timeout = '100ms'
as $$
begin
    return aiserv._reserve_keys(_reserve_keys_at_once.items, _reserve_keys_at_once.job_ids);
exception
    when lock_not_available or deadlock_detected then
        return null;
end;
$$;

comment on function aiserv._reserve_keys_at_once is 'What _reserve_keys returns; null, and nothing reserved, when another transaction holds one of the keys.';
