create or replace function aiserv._create_all(
    jobs        json,
    patience    interval default null,
    has_keys    boolean  default null,
    plain       boolean  default false,
    out created aiserv.jobs[],
    out is_new  boolean[]
)
language plpgsql
set search_path = pg_temp
as $$
declare
    moment   timestamptz;
    reserved record;
    stored   record;
begin
    loop
        moment := clock_timestamp();
        reserved := aiserv._reserve_jobs(_create_all.jobs, null, moment, _create_all.patience, _create_all.has_keys);
        stored := aiserv._store_jobs(
            _create_all.jobs, null, null, moment, reserved.new_ids, reserved.new_ids is null, _create_all.plain
        );
        if reserved.job_ids is null then
            created := stored.created;
            return;
        end if;

        select
            array_agg(job::aiserv.jobs order by wanted.place),
            array_agg(reserved.new_ids[wanted.place] is not null order by wanted.place)
        into created, is_new
        from unnest(reserved.job_ids) with ordinality as wanted(id, place)
        cross join lateral (select shown.* from aiserv.jobs as shown where shown.id = wanted.id limit 1) as job;
        exit when cardinality(created) = cardinality(reserved.job_ids);
        -- The job of a key that was known a moment ago has been deleted since: now the key is free.
        if created is not null then
            raise exception using errcode = '55P03', message = 'the job of an idempotency key has just been deleted';
        end if;
    end loop;
end;
$$;

comment on function aiserv._create_all is
'Store items, all or none, and return in input order the job of each, and whether it is new: null if all are. Waits no longer than
patience for a transaction that holds a key. has_keys as in _reserve_jobs, plain as in _sent_jobs. Raises what _reserve_jobs and
_store_jobs raise, and 55P03.';
