create or replace function aiserv.get_batch(batch_id uuid)
returns json
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
declare
    batch  aiserv.batch;
    answer json;
begin
    select known.* into batch from aiserv.batch as known where known.id = get_batch.batch_id;
    if not found then
        raise exception using
            errcode = 'JN404',
            message = format('there is no batch %s', get_batch.batch_id),
            hint = 'It was never created, or its retention is over.';
    end if;

    select json_build_object(
        'batch_id', batch.id,
        'created_at', aiserv.time_text(batch.created_at),
        'counts', json_build_object(
            'pending', count(*) filter (where job.status = 'pending'),
            'running', count(*) filter (where job.status = 'running'),
            'completed', count(*) filter (where job.status = 'completed'),
            'failed', count(*) filter (where job.status = 'failed'),
            'cancelled', count(*) filter (where job.status = 'cancelled'),
            'total', count(*)
        ),
        'finished', coalesce(bool_and(job.finished_at is not null), true)
    ) into answer
    from unnest(batch.job_ids) as member(job_id)
    join aiserv.jobs as job on job.id = member.job_id;
    return answer;
end;
$$;

comment on function aiserv.get_batch is
'How far a batch is: {"batch_id", "created_at", "counts": {"pending", "running", "completed", "failed", "cancelled", "total"},
"finished"}.
Raises JN404 (no such batch).';
