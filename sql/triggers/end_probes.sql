create or replace function aiserv._end_probes()
returns trigger
language plpgsql
set search_path = pg_temp
as $$
begin
    -- Nobody pays for trouble who has none.
    if not exists (select from aiserv.provider) then
        return null;
    end if;

    delete from aiserv.provider as provider
    using gone
    join aiserv.job as job on job.id = any(array[gone.job_id])
    where provider.probe_job_id = gone.job_id and provider.probe_attempt = gone.attempt and job.outcome = 'completed';

    -- It ended and proved nothing, or its worker died: another one may go.
    update aiserv.provider as provider
    set probe_job_id = null,
        probe_attempt = null
    from gone
    where provider.probe_job_id = gone.job_id and provider.probe_attempt = gone.attempt;
    return null;
end;
$$;

comment on function aiserv._end_probes is
'When a job stops running that probed a provider: its success means that the provider is well, all else that another job may probe
it.';

create or replace trigger _310_end_probes
after delete on aiserv.lease
referencing old table as gone
for each statement
execute function aiserv._end_probes();
