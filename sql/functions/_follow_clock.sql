create or replace function aiserv._follow_clock()
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    back   interval;
    moment timestamptz;
begin
    -- One at a time, for it is followed once; and nobody waits.
    if not pg_try_advisory_xact_lock(hashtextextended('aiserv.clock', 0)) then
        return;
    end if;
    -- Who works is written down every few seconds: seen later than now, he was seen before the clock was set back, or by another
    -- machine before a failover. For less than a second nobody has to wait for long.
    back := (select max(worker.last_seen_at) from aiserv.worker as worker) - clock_timestamp();
    if coalesce(back, interval '0') <= interval '1 second' then
        return;
    end if;
    moment := clock_timestamp();

    -- A lease begins anew, as long as it was: whoever lives renews it, and of whoever died nobody knows when.
    update aiserv.lease as lease
    set lease_expires_at = aiserv._expiry(lease.lease_expires_at, lease.updated_at),
        updated_at = moment
    where lease.ctid = any(array(
        select held.ctid from aiserv.lease as held where held.updated_at > moment order by held.job_id for update skip locked
    ));
    -- Rather probed too early than not for hours.
    update aiserv.provider as provider
    set paused_until = greatest(provider.paused_until - back, moment)
    where provider.name = any(array(
        select known.name from aiserv.provider as known where known.paused_until > moment order by known.name for update skip locked
    ));
    -- Who was served before would come after all who are served from now on.
    update aiserv.turn as turn
    set served_at = least(turn.served_at - back, moment)
    where turn.ctid = any(array(
        select known.ctid from aiserv.turn as known where known.served_at > moment for update skip locked
    ));
    -- Whom somebody holds says it again the next time.
    update aiserv.worker as worker
    set last_seen_at = moment
    where worker.ctid = any(array(
        select known.ctid from aiserv.worker as known where known.last_seen_at > moment for update skip locked
    ));
end;
$$;

comment on function aiserv._follow_clock is
'If the clock was set back, let nobody wait until it is again as late as it was: leases begin anew, pauses of providers and turns of
owners move back with it. Times that callers have given stay.';
