create or replace function aiserv.settle_each(
    settlements json,
    patience    interval default '100 ms'
)
returns table (
    id            uuid,
    job           json,
    version       text,
    status        text,
    attempt       integer,
    task_type     text,
    model_profile text,
    code          text,
    message       text,
    hint          text
)
language plpgsql
security definer
set search_path = pg_temp
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
set jit = off
set plan_cache_mode = force_generic_plan
set lock_timeout = '100ms'
as $$
declare
    answers aiserv.settlement[];
begin
    -- Until the function returns: it has a lock_timeout of its own. None at all would mean for ever.
    perform set_config('lock_timeout', greatest(ceil(extract(epoch from settle_each.patience) * 1000), 1)::text, true);
    answers := array(select answer from aiserv.settle_jobs(settle_each.settlements, fenced => false) as answer);

    -- A statement of its own: it sees what the one before it has written.
    return query
    select
        answer.id, settled.job, settled.version, settled.status, settled.attempt, settled.task_type, settled.model_profile,
        answer.code, answer.detail, answer.hint
    from unnest(answers) with ordinality as answer(id, status, code, detail, hint, place)
    left join lateral (
        select
            aiserv.job_json(shown) as job, aiserv.job_version(shown) as version, shown.status, shown.attempt,
            shown.task_type, shown.model_profile
        from aiserv.jobs as shown
        where shown.id = answer.id and answer.code is null
        limit 1
    ) as settled on true
    order by answer.place;
end;
$$;

comment on function aiserv.settle_each is
'Complete and fail many jobs in one transaction, as settle_jobs, and return in order what became of each: the job as job_json shows
it, its version and where it stands, or the code, message and hint of its refusal. attempt may be left out: then whoever runs the
job is meant.
Raises JV400 when settlements is no array, and 55P03 when another transaction holds one of the jobs for longer than
patience: settle them one by one, or with more of it.';
