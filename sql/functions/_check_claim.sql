create or replace function aiserv._check_claim(
    worker_id text,
    max_jobs  integer,
    lease     interval,
    claim_id  text
)
returns void
language plpgsql
immutable
set search_path = pg_temp
as $$
declare
    complaint text := case
        when (char_length(_check_claim.worker_id) between 1 and 200) is not true then 'worker_id: must have 1 to 200 characters'
        when (_check_claim.max_jobs between 0 and 1000) is not true then 'max_jobs: must be from 0 to 1000'
        when (_check_claim.lease between interval '1 second' and interval '24 hours') is not true then 'lease: must be from 1s to 24h'
        when not (char_length(_check_claim.claim_id) between 1 and 200) then 'claim_id: must have 1 to 200 characters'
    end;
begin
    if complaint is not null then
        raise exception using errcode = 'JV400', message = complaint;
    end if;
end;
$$;

comment on function aiserv._check_claim is 'Raise JV400 when the arguments of a claim make no sense.';
