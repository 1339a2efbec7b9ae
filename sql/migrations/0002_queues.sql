-- Who may claim what, and whose turn it is.

create table aiserv.queue_setting (
    model_profile       text             not null,
    task_type           text             not null,
    paused              boolean          not null default false,
    paused_until        timestamptz,
    pause_reason        text,
    max_running         integer,
    requests_per_minute integer,
    tokens_per_minute   integer,
    request_balance     double precision,
    token_balance       double precision,
    refilled_at         timestamptz      not null,
    updated_at          timestamptz      not null,
    constraint queue_setting_pkey primary key (model_profile, task_type),
    constraint queue_setting_has_a_model_profile check (char_length(model_profile) between 1 and 200),
    constraint queue_setting_max_running_is_not_negative check (max_running >= 0),
    constraint queue_setting_requests_are_positive check (requests_per_minute > 0),
    constraint queue_setting_tokens_are_positive check (tokens_per_minute > 0)
);

comment on table aiserv.queue_setting is
'The pauses and limits of a model profile (task_type '''') or of one task type of it. A queue without a row has none and pays nothing.';

create table aiserv.turn (
    model_profile text        not null,
    task_type     text        not null,
    owner_service text        not null,
    served_at     timestamptz not null,
    constraint turn_pkey primary key (model_profile, task_type, owner_service)
) with (fillfactor = 50);

comment on table aiserv.turn is 'When an owner was last served in a queue, so that owners take turns. Written only while several wait.';

create table aiserv.worker (
    instance_id    uuid        not null,
    worker_id      text        not null,
    kind           text        not null,
    task_types     text[]      not null,
    model_profiles text[]      not null,
    providers      jsonb,
    queues         jsonb,
    slots          integer,
    owner_service  text,
    started_at     timestamptz not null,
    last_seen_at   timestamptz not null,
    constraint worker_pkey primary key (instance_id),
    constraint worker_kind_is_known check (kind in ('builtin', 'http'))
) with (fillfactor = 50);

comment on table aiserv.worker is 'Who claims: one row for each start of a built-in worker and for each worker_id seen over HTTP or psql.';

-- Who is claiming: what all leases of one claim share.
create type aiserv._claimer as (
    worker_id     text,
    instance_id   uuid,
    claim_id      text,
    lease         interval,
    providers     jsonb,
    queues        jsonb,
    owner_service text
);

-- A queue's jobs of one priority level and owner, and after which of them a claim begins.
create type aiserv._lane as (
    model_profile text,
    task_type     text,
    owner_service text,
    run_at        timestamptz,
    job_id        uuid
);
