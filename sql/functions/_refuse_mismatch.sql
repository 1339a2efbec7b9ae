create or replace function aiserv._refuse_mismatch(
    jobs     json,
    defaults json,
    fresh    uuid[]
)
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    mismatch record;
begin
    select sent.place, (sent.item).idempotency_key, known.job_id into mismatch
    from aiserv._sent_jobs(_refuse_mismatch.jobs, _refuse_mismatch.defaults) as sent
    join aiserv.idempotency as known
        on known.owner_service = any(array[(sent.item).owner_service])
        and known.idempotency_key = (sent.item).idempotency_key
    -- The key that this item itself has made needs no look.
    where known.job_id <> _refuse_mismatch.fresh[sent.place] and known.fingerprint <> aiserv._fingerprint(sent.item)
    order by sent.place
    limit 1;

    if found and mismatch.job_id = any(_refuse_mismatch.fresh) then
        raise exception using
            errcode = 'JV400',
            message = format('jobs[%s].idempotency_key: the batch has this key twice with different bodies', mismatch.place - 1);
    elsif found then
        raise exception using
            errcode = 'JK422',
            message = format('idempotency_key %s was used for another body', to_json(mismatch.idempotency_key)),
            detail = format('It made job %s.', mismatch.job_id),
            hint = 'Repeat the request with the body of the first time, or choose a new key.';
    end if;
end;
$$;

comment on function aiserv._refuse_mismatch is
'Raise JK422 when a key of these items was used for another body, and JV400 when it was so by another of these items.';
