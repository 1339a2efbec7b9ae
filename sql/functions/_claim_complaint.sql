create or replace function aiserv._claim_complaint(
    worker_id text,
    max_jobs  integer,
    lease     interval,
    claim_id  text default null
)
returns text
language sql
immutable
as $$
    select case
        when (char_length(_claim_complaint.worker_id) between 1 and 200) is not true then 'worker_id: must have 1 to 200 characters'
        when (_claim_complaint.max_jobs between 0 and 1000) is not true then 'max_jobs: must be from 0 to 1000'
        when (_claim_complaint.lease between interval '1 second' and interval '24 hours') is not true then 'lease: must be from 1s to 24h'
        when not (char_length(_claim_complaint.claim_id) between 1 and 200) then 'claim_id: must have 1 to 200 characters'
    end;
$$;

comment on function aiserv._claim_complaint is
'Why the arguments of a claim make no sense; null when they do. Without a search path of its own, so that the planner can inline
it.';
