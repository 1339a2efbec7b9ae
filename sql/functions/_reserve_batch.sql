create or replace function aiserv._reserve_batch(
    batch_id        uuid,
    jobs            json,
    defaults        json,
    idempotency_key text
)
returns uuid[]
language plpgsql
set search_path = pg_temp
as $$
declare
    key_owner   text;
    fingerprint uuid;
    known       aiserv.batch;
begin
    if char_length(_reserve_batch.idempotency_key) not between 1 and 200 then
        raise exception using errcode = 'JV400', message = 'idempotency_key: must have 1 to 200 characters';
    elsif _reserve_batch.idempotency_key is not null then
        -- What the items would have made: with their owners and keys, which the fingerprint of one leaves out.
        select
            (array_agg((sent.item).owner_service order by sent.place))[1],
            md5(json_agg(
                json_build_array((sent.item).owner_service, (sent.item).idempotency_key, aiserv._fingerprint(sent.item))
                order by sent.place
            )::text)::uuid
        into key_owner, fingerprint
        from aiserv._sent_jobs(_reserve_batch.jobs, _reserve_batch.defaults) as sent;
    end if;

    loop
        -- Of two with one key the second waits here, before it holds anything: they cannot deadlock.
        insert into aiserv.batch as batch (id, job_ids, created_at, owner_service, idempotency_key, fingerprint)
        values (
            _reserve_batch.batch_id, '{}', clock_timestamp(), key_owner, _reserve_batch.idempotency_key, fingerprint
        )
        on conflict do nothing
        returning batch.* into known;
        exit when found;

        select batch.* into known
        from aiserv.batch as batch
        where batch.owner_service = key_owner and batch.idempotency_key = _reserve_batch.idempotency_key;
        exit when found;

        if exists (select from aiserv.batch as batch where batch.id = _reserve_batch.batch_id) then
            raise exception using
                errcode = 'JV400', message = format('batch_id: batch %s exists already', _reserve_batch.batch_id);
        end if;
    end loop;

    if known.fingerprint <> fingerprint then
        raise exception using
            errcode = 'JK422',
            message = format('idempotency_key %s was used for another batch', to_json(_reserve_batch.idempotency_key)),
            detail = format('It made batch %s.', known.id),
            hint = 'Repeat the request with the body of the first time, or choose a new key.';
    end if;
    return known.job_ids;
end;
$$;

comment on function aiserv._reserve_batch is
'The jobs of the batch that the key made before; none for a new batch, whose row then holds key and id. Raises JV400 and JK422.';
