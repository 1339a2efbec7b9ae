create or replace function aiserv.is_batch_of(
    batch_id      uuid,
    owner_service text
)
returns boolean
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
begin
    return exists (select from aiserv.batch as batch where batch.id = is_batch_of.batch_id)
        and not exists (
            select
            from aiserv.batch as batch
            cross join unnest(batch.job_ids) as member(job_id)
            join aiserv.job as job on job.id = member.job_id
            where batch.id = is_batch_of.batch_id and job.owner_service <> is_batch_of.owner_service
        );
end;
$$;

comment on function aiserv.is_batch_of is 'Whether there is such a batch and all its jobs belong to the owner.';
