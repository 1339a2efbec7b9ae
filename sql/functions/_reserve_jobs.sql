create or replace function aiserv._reserve_jobs(
    jobs        json,
    defaults    json,
    moment      timestamptz,
    patience    interval,
    out job_ids uuid[],
    out new_ids uuid[]
)
language plpgsql
set search_path = pg_temp
as $$
declare
    micros   bigint := extract(epoch from _reserve_jobs.moment) * 1000000;
    usual    text   := current_setting('lock_timeout');
    fresh    uuid[];
    keyed    bigint;
    made     bigint;
begin
    if _reserve_jobs.patience is not null then
        -- None at all would mean for ever.
        perform set_config(
            'lock_timeout', greatest(ceil(extract(epoch from _reserve_jobs.patience) * 1000), 1)::integer::text, true
        );
    end if;
    fresh := array(
        select aiserv._id_at(micros + position.number)
        from generate_series(1, json_array_length(_reserve_jobs.jobs)) as position(number)
    );
    loop
        with keyed as materialized (
            select
                sent.place, (sent.item).owner_service, (sent.item).idempotency_key,
                -- Null, which is refused, for what makes no sense.
                case when sent.is_sound then aiserv._fingerprint(sent.item) end as fingerprint
            from aiserv._sent_jobs(_reserve_jobs.jobs, _reserve_jobs.defaults) as sent
            where (sent.item).idempotency_key is not null
        ),
        made as (
            -- Sorted, so that two batches with the same keys wait for each other and never deadlock. Of equal
            -- keys in one batch the first makes the job.
            insert into aiserv.idempotency (owner_service, idempotency_key, job_id, fingerprint)
            select distinct on (keyed.owner_service, keyed.idempotency_key)
                keyed.owner_service, keyed.idempotency_key, fresh[keyed.place], keyed.fingerprint
            from keyed
            order by keyed.owner_service, keyed.idempotency_key, keyed.place
            on conflict on constraint idempotency_pkey do nothing
            returning job_id
        )
        select (select count(*) from keyed), (select count(*) from made) into keyed, made;
        exit when made = keyed;

        -- A new statement: it sees the keys of those it waited for.
        select
            array_agg(part.job_id order by part.place),
            array_agg(case when part.job_id = fresh[part.place] then part.job_id end order by part.place)
        into job_ids, new_ids
        from (
            select sent.place, case when (sent.item).idempotency_key is null then fresh[sent.place] else known.job_id end as job_id
            from aiserv._sent_jobs(_reserve_jobs.jobs, _reserve_jobs.defaults) as sent
            left join aiserv.idempotency as known
                on known.owner_service = any(array[(sent.item).owner_service])
                and known.idempotency_key = (sent.item).idempotency_key
        ) as part;
        -- A key that was there may have been pruned while the insert waited for the next one: then it is free.
        exit when array_position(job_ids, null) is null;
    end loop;
    perform set_config('lock_timeout', usual, true);

    if made < keyed then
        perform aiserv._refuse_mismatch(_reserve_jobs.jobs, _reserve_jobs.defaults, fresh);
    elsif keyed > 0 then
        job_ids := fresh;
        new_ids := fresh;
    end if;
end;
$$;

comment on function aiserv._reserve_jobs is
'The id of each item''s job, where any item has an idempotency key: the one that its key made before, or a new one, which then
holds the key and stands in new_ids, too. Both are null where no item has a key. Waits no longer than patience for a transaction
that holds a key. Raises JV400, JK422, and 55P03.';
