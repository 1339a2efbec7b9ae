create or replace function aiserv._spend(job_ids uuid[])
returns void
language plpgsql
set search_path = pg_temp
as $$
begin
    update aiserv.lease as lease
    set reserved_tokens = job.input_bytes / 4 + case
        when (job.input ->> 'max_tokens') ~ '^[0-9]{1,9}$' then (job.input ->> 'max_tokens')::bigint
        else 0
    end
    from aiserv.job as job
    where lease.job_id = any(_spend.job_ids)
      and job.id = any(array[lease.job_id])
      and exists (
          select from aiserv.queue_setting as setting
          where setting.model_profile = lease.model_profile
            and setting.task_type in ('', lease.task_type)
            and setting.tokens_per_minute is not null
      );

    update aiserv.queue_setting as setting
    set request_balance = setting.request_balance - spent.jobs,
        token_balance = setting.token_balance - spent.tokens
    from (
        select setting.model_profile, setting.task_type, count(*) as jobs, coalesce(sum(lease.reserved_tokens), 0) as tokens
        from aiserv.lease as lease
        join aiserv.queue_setting as setting
            on setting.model_profile = lease.model_profile and setting.task_type in ('', lease.task_type)
        where lease.job_id = any(_spend.job_ids)
          and (setting.requests_per_minute is not null or setting.tokens_per_minute is not null)
        group by setting.model_profile, setting.task_type
    ) as spent
    where setting.model_profile = spent.model_profile and setting.task_type = spent.task_type;
end;
$$;

comment on function aiserv._spend is
'Charge claimed jobs to the rates of their queues: one request each, and an estimate of tokens (a quarter of the bytes of input,
and max_tokens) that the settlement corrects by the usage reported.';
