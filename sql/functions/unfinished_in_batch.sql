create or replace function aiserv.unfinished_in_batch(batch_id uuid)
returns uuid
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
declare
    last uuid;
begin
    -- From the end: it is likely the last one to finish, so who waits for it need not ask often.
    select member.job_id into last
    from aiserv.batch as batch
    cross join unnest(batch.job_ids) with ordinality as member(job_id, position)
    join aiserv.job as job on job.id = member.job_id
    where batch.id = unfinished_in_batch.batch_id and job.outcome is null
    order by member.position desc
    limit 1;
    return last;
end;
$$;

comment on function aiserv.unfinished_in_batch is
'A job of the batch that is not finished yet, to be waited for; null when there is none or no such batch.';
