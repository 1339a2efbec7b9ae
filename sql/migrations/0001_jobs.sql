-- A job and the places it can be in.
--
-- `job` is the wide row: written at create and once more at the end. Where a job stands is where
-- its narrow row lies: in `ready` it is pending and due, in `scheduled` pending for later, in
-- `lease` running, in none of them finished. Whoever deletes the narrow row has won the right to
-- move the job on; a lease is deleted by job and attempt, so fencing is its key.

-- How a job ended. A session reads the check of a domain once, and those of a table anew for each statement.
-- squawk-ignore ban-create-domain-with-constraint
create domain aiserv._outcome as text constraint outcome_is_final check (value in ('completed', 'failed', 'cancelled'));

create table aiserv.job (
    id              uuid             not null,
    owner_service   text             not null,
    owner_ref       text             not null,
    task_type       text             not null,
    model_profile   text             not null,
    priority        integer          not null,
    input           json             not null,
    input_bytes     integer          not null,
    metadata        json             not null,
    max_attempts    integer          not null,
    timeout_seconds double precision,
    idempotency_key text,
    batch_id        uuid,
    traceparent     text,
    created_at      timestamptz      not null,
    -- What follows changes: when an attempt ends.
    run_at          timestamptz      not null,
    attempt         integer          not null default 0,
    failures        integer          not null default 0,
    lost_leases     integer          not null default 0,
    first_claim_at  timestamptz,
    worker_id       text,
    started_at      timestamptz,
    updated_at      timestamptz      not null,
    finished_at     timestamptz,
    outcome         aiserv._outcome,
    result          json,
    usage           json,
    error_category  text,
    error_message   text,
    -- What was asked is checked by _sent_jobs, on the only way in: PostgreSQL reads every check here anew for each statement
    -- that writes, also those that end jobs.
    constraint job_finished_has_outcome check ((outcome is null) = (finished_at is null)),
    constraint job_completed_has_result check (outcome is distinct from 'completed' or result is not null),
    constraint job_failed_has_category check (outcome is distinct from 'failed' or error_category is not null)
) with (
    -- Room for the final version on the same page: with no index on what it changes, it is a HOT update.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);

create index job_by_owner on aiserv.job (owner_service, id);
create index job_by_owner_ref on aiserv.job (owner_ref, id) where owner_ref <> '';
create index job_by_queue on aiserv.job (model_profile, task_type, id);
-- After the others, which hold the id, too: of indexes that cost the same PostgreSQL takes the latest, and while it has no
-- idea of the table's size they all do.
alter table aiserv.job add constraint job_pkey primary key (id);

comment on table aiserv.job is 'One row a job: what was asked, and what became of it. Read the view aiserv.jobs.';
comment on column aiserv.job.first_claim_at is
'When its first attempt since it was created or retried began; written when an attempt ends that was not the last. Patience counts from here.';

create table aiserv.ready (
    model_profile text        not null,
    task_type     text        not null,
    priority      integer     not null,
    owner_service text        not null,
    run_at        timestamptz not null,
    job_id        uuid        not null,
    input_bytes   integer     not null,
    -- The names as numbers, as _queue_key and _owner_key have them: a look into the index compares all entries of a page, and names
    -- cost it three times as much.
    queue_key     bigint      not null generated always as (hashtextextended(task_type, hashtextextended(model_profile, 0))) stored,
    owner_key     bigint      not null generated always as (hashtextextended(owner_service, 0)) stored,
    -- The order of claims is the key: queue, priority, owner, time.
    constraint ready_pkey primary key (queue_key, priority, owner_key, run_at, job_id)
) with (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

comment on table aiserv.ready is 'The pending jobs that are due: claims take from here.';

create table aiserv.scheduled (
    model_profile text        not null,
    task_type     text        not null,
    run_at        timestamptz not null,
    job_id        uuid        not null,
    priority      integer     not null,
    owner_service text        not null,
    input_bytes   integer     not null,
    constraint scheduled_pkey primary key (model_profile, task_type, run_at, job_id)
) with (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

comment on table aiserv.scheduled is 'The pending jobs whose run_at has not come: claims move the due ones to aiserv.ready.';

create table aiserv.lease (
    job_id           uuid        not null,
    attempt          integer     not null,
    worker_id        text        not null,
    instance_id      uuid        not null,
    claim_id         text,
    owner_service    text        not null,
    task_type        text        not null,
    model_profile    text        not null,
    lease            interval    not null,
    lease_expires_at timestamptz not null,
    started_at       timestamptz not null,
    updated_at       timestamptz not null,
    progress         json,
    reserved_tokens  bigint,
    constraint lease_pkey primary key (job_id)
) with (
    -- Renewals stay on their page, and no index knows the time.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

create index lease_by_claim on aiserv.lease (worker_id, claim_id) where claim_id is not null;

comment on table aiserv.lease is 'The running jobs: which attempt of which worker holds each, and until when.';

create table aiserv.attempt (
    job_id         uuid        not null,
    attempt        integer     not null,
    worker_id      text        not null,
    started_at     timestamptz not null,
    finished_at    timestamptz not null,
    outcome        text        not null,
    retryable      boolean,
    error_category text,
    error_message  text,
    constraint attempt_pkey primary key (job_id, attempt),
    constraint attempt_outcome_is_known check (
        outcome in ('failed', 'retrying', 'superseded', 'released', 'lease_expired', 'cancelled')
    )
);

comment on table aiserv.attempt is
'The attempts that ended other than by completion. The one that completed stands in aiserv.job: the usual path writes no row here.';

create table aiserv.unsuccessful (
    job_id         uuid        not null,
    owner_service  text        not null,
    task_type      text        not null,
    model_profile  text        not null,
    outcome        text        not null,
    error_category text,
    worker_id      text,
    finished_at    timestamptz not null,
    constraint unsuccessful_pkey primary key (job_id),
    constraint unsuccessful_did_not_complete check (outcome in ('failed', 'cancelled'))
);

comment on table aiserv.unsuccessful is 'The failed and the cancelled jobs: found here, so that the wide row needs no index on what its end writes.';

create table aiserv.idempotency (
    owner_service   text  not null,
    idempotency_key text  not null,
    job_id          uuid  not null,
    fingerprint     uuid  not null,
    constraint idempotency_pkey primary key (owner_service, idempotency_key)
);

comment on table aiserv.idempotency is 'Which job an idempotency key made, and the fingerprint of the body it came with.';

create table aiserv.batch (
    id              uuid        not null,
    job_ids         uuid[]      not null,
    created_at      timestamptz not null,
    owner_service   text,
    idempotency_key text,
    fingerprint     uuid,
    constraint batch_pkey primary key (id),
    constraint batch_key_is_used_once unique (owner_service, idempotency_key),
    constraint batch_key_has_owner_and_fingerprint check (num_nonnulls(owner_service, idempotency_key, fingerprint) in (0, 3))
);

-- Ids hardly compress, and to try takes longer than to write them.
alter table aiserv.batch alter column job_ids set storage external;

create index batch_by_age on aiserv.batch (created_at);

comment on table aiserv.batch is 'The jobs of a batch in input order, those included that an idempotency key found already there.';
comment on column aiserv.batch.owner_service is 'Whose key the batch came with: the owner of its first job.';

-- One item of create_jobs, as it was sent.
create type aiserv._new_job as (
    owner_service   text,
    owner_ref       text,
    task_type       text,
    model_profile   text,
    input           json,
    priority        integer,
    run_at          timestamptz,
    delay           interval,
    max_attempts    integer,
    timeout_seconds double precision,
    metadata        json,
    idempotency_key text,
    traceparent     text
);

-- A job as job_json shows it: times are text.
create type aiserv._shown_job as (
    id               uuid,
    owner_service    text,
    owner_ref        text,
    task_type        text,
    model_profile    text,
    status           text,
    priority         integer,
    input            json,
    result           json,
    progress         json,
    metadata         json,
    usage            json,
    error_category   text,
    error_message    text,
    attempt          integer,
    failures         integer,
    max_attempts     integer,
    worker_id        text,
    idempotency_key  text,
    batch_id         uuid,
    traceparent      text,
    run_at           text,
    lease_expires_at text,
    timeout_seconds  double precision,
    created_at       text,
    updated_at       text,
    started_at       text,
    finished_at      text
);

-- The same without its payloads.
create type aiserv._shown_summary as (
    id               uuid,
    owner_service    text,
    owner_ref        text,
    task_type        text,
    model_profile    text,
    status           text,
    priority         integer,
    metadata         json,
    usage            json,
    error_category   text,
    error_message    text,
    attempt          integer,
    failures         integer,
    max_attempts     integer,
    worker_id        text,
    idempotency_key  text,
    batch_id         uuid,
    traceparent      text,
    run_at           text,
    lease_expires_at text,
    timeout_seconds  double precision,
    created_at       text,
    updated_at       text,
    started_at       text,
    finished_at      text
);

-- What became of one item of settle_jobs: a status, or the code of a refusal and why.
create type aiserv.settlement as (
    id     uuid,
    status text,
    code   text,
    detail text,
    hint   text
);

-- The conditions that list_jobs, retry_jobs and cancel_jobs share.
create type aiserv._filter as (
    id             uuid[],
    owner_service  text[],
    owner_ref      text[],
    task_type      text[],
    model_profile  text[],
    status         text[],
    error_category text[],
    worker_id      text[],
    batch_id       uuid[],
    created_after  timestamptz,
    created_before timestamptz
);

-- What a look at an installation finds: ok, warning or problem, and what to do.
create type aiserv.finding as (
    topic  text,
    status text,
    detail text,
    advice text
);

-- The settings in which a session keeps where its looks have come to: see _cursor. A type, so that no other name is taken for one.
create type aiserv._cursor_name as enum ('aiserv.claim_cursor', 'aiserv.lease_cursor', 'aiserv.prune_cursor');
