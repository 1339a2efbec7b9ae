create or replace function aiserv._answer(settlement aiserv.settlement)
returns aiserv.jobs
language plpgsql
stable
set search_path = pg_temp
as $$
declare
    answer aiserv.jobs;
begin
    if settlement.code is not null then
        raise exception using errcode = settlement.code, message = settlement.detail, hint = settlement.hint;
    end if;
    select job.* into answer from aiserv.jobs as job where job.id = settlement.id;
    return answer;
end;
$$;

comment on function aiserv._answer is 'The job that a settlement was about, or the refusal raised.';
