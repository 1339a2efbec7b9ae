create or replace function aiserv._expiry(
    lease_expires_at timestamptz,
    updated_at       timestamptz
)
returns timestamptz
language sql
volatile
as $$
    select _expiry.lease_expires_at - greatest(_expiry.updated_at - clock_timestamp(), interval '0');
$$;

comment on function aiserv._expiry is
'When a lease runs out that was written at updated_at: sooner than it says by as much as the clock was set back since. Without a
search path of its own, so that the planner can inline it.';
