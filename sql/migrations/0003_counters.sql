-- Counters that are exact at any moment and cost nobody a hot row: each statement that changes a
-- count appends its deltas, and now and then the deltas are folded into totals.

create table aiserv.delta (
    minute         timestamptz not null,
    owner_service  text        not null,
    task_type      text        not null,
    model_profile  text        not null,
    error_category text        not null default '',
    total          bigint      not null default 0,
    scheduled      bigint      not null default 0,
    completed      bigint      not null default 0,
    failed         bigint      not null default 0,
    cancelled      bigint      not null default 0
) with (
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

comment on table aiserv.delta is 'Changes of the counters, one row for each statement and group, not folded yet.';

create table aiserv.tally (
    minute         timestamptz not null,
    owner_service  text        not null,
    task_type      text        not null,
    model_profile  text        not null,
    error_category text        not null,
    total          bigint      not null,
    scheduled      bigint      not null,
    completed      bigint      not null,
    failed         bigint      not null,
    cancelled      bigint      not null,
    constraint tally_pkey primary key (minute, owner_service, task_type, model_profile, error_category)
) with (fillfactor = 70);

comment on table aiserv.tally is
'The folded counters of a group: for all time under the minute -infinity, and for each minute in which jobs of it finished.';

-- The numbers of one owner, task type and model profile.
create type aiserv._group as (
    owner_service text,
    task_type     text,
    model_profile text,
    pending       bigint,
    scheduled     bigint,
    running       bigint,
    completed     bigint,
    failed        bigint,
    cancelled     bigint,
    oldest_run_at timestamptz
);
