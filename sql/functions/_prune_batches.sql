create or replace function aiserv._prune_batches(
    cutoff   timestamptz,
    max_rows integer
)
returns void
language plpgsql
set search_path = pg_temp
as $$
declare
    start  timestamptz := '-infinity'::timestamptz;
    looked bigint;
    gone   bigint;
begin
    -- The oldest first. Where none of a whole piece could go, since jobs of theirs are still there, another piece from anywhere:
    -- a thousand batches that stay must not hide the others for ever.
    for piece in 1..2 loop
        with old as materialized (
            select batch.id, batch.job_ids
            from aiserv.batch as batch
            where batch.created_at >= start and batch.created_at < _prune_batches.cutoff
            order by batch.created_at
            limit _prune_batches.max_rows
        ),
        pruned as (
            delete from aiserv.batch as batch
            where batch.id = any(array(select old.id from old where aiserv._are_gone(old.job_ids)))
            returning batch.id
        )
        select (select count(*) from old), (select count(*) from pruned) into looked, gone;
        exit when looked < _prune_batches.max_rows or gone > 0;
        select batch.created_at + random() * (_prune_batches.cutoff - batch.created_at) into start
        from aiserv.batch as batch
        order by batch.created_at
        limit 1;
    end loop;
end;
$$;

comment on function aiserv._prune_batches is
'Forget batches made before the cutoff none of whose jobs is left; looks at max_rows of them, or twice that. For those that
_delete_jobs leaves: they list jobs of other batches only, or two transactions deleted their last jobs at once and neither saw it.
Called when no more jobs are to be deleted, as nearly all that it looks at stay.';
