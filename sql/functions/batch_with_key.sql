create or replace function aiserv.batch_with_key(
    owner_service   text,
    idempotency_key text
)
returns uuid
language plpgsql
stable
security definer
set search_path = pg_temp
as $$
begin
    return (
        select batch.id
        from aiserv.batch as batch
        where batch.owner_service = batch_with_key.owner_service and batch.idempotency_key = batch_with_key.idempotency_key
    );
end;
$$;

comment on function aiserv.batch_with_key is
'The batch that create_jobs made with this idempotency_key, or null. The key belongs to the owner_service of its first job.';
