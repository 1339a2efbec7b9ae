-- Providers in trouble. Trouble is not a job's fault: it is kept here, once, and all claims see it.

create table aiserv.provider (
    name          text        not null,
    category      text        not null,
    message       text        not null,
    pauses        integer     not null,
    since         timestamptz not null,
    paused_until  timestamptz not null,
    probe_job_id  uuid,
    probe_attempt integer,
    constraint provider_pkey primary key (name),
    constraint provider_has_a_name check (char_length(name) between 1 and 200),
    constraint provider_pauses_at_least_once check (pauses >= 1),
    constraint provider_probe_is_an_attempt check ((probe_job_id is null) = (probe_attempt is null))
) with (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

comment on table aiserv.provider is
'The providers in trouble, and until when each is left alone. One that is well has no row, and while all are, nobody pays for it.';

-- Which provider serves a model profile, and what a claim may do with it.
create type aiserv._service as (
    model_profile text,
    provider      text,
    in_trouble    boolean,
    may_probe     boolean
);
