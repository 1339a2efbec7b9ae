-- The whole schema through psql alone, in one transaction:
--
--     psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f sql/install.sql
--
-- Into a database without aiserv; `aiserv migrate` brings an installed one up to date. Without the right to create
-- roles, let somebody who has it run roles.sql first; or leave them out: psql … -v roles=no

\set QUIET on
begin;
set local client_min_messages = warning;
\if :{?roles}
\else
\ir roles.sql
\endif
\ir schema.sql

\ir migrations/0001_jobs.sql
\ir migrations/0002_queues.sql
\ir migrations/0003_counters.sql
\ir migrations/0004_providers.sql
\ir migrations/0005_actions.sql
insert into aiserv.installed (file) values
    ('migrations/0001_jobs.sql'),
    ('migrations/0002_queues.sql'),
    ('migrations/0003_counters.sql'),
    ('migrations/0004_providers.sql'),
    ('migrations/0005_actions.sql');

\ir views/_counters.sql
\ir views/actions.sql
\ir views/attempts.sql
\ir views/jobs.sql
\ir views/_serving.sql
\ir views/_trouble.sql
\ir views/queue.sql
\ir views/providers.sql
\ir views/recent_failures.sql
\ir views/workers.sql
\ir views/stuck_jobs.sql

\ir functions/_queue_key.sql
\ir functions/_owner_key.sql
\ir functions/merge_objects.sql
\ir functions/merge_jobs.sql
\ir functions/time_text.sql
\ir functions/_answer.sql
\ir functions/_are_gone.sql
\ir functions/_backoff.sql
\ir functions/_cancel.sql
\ir functions/_changed_settings.sql
\ir functions/_check_bulk.sql
\ir functions/_check_completion.sql
\ir functions/_check_failure.sql
\ir functions/_check_filter.sql
\ir functions/_check_names.sql
\ir functions/_check_room.sql
\ir functions/_checked_cursor.sql
\ir functions/_chosen_ids.sql
\ir functions/_claim.sql
\ir functions/_claim_complaint.sql
\ir functions/_complaint.sql
\ir functions/_complaint_about.sql
\ir functions/_complete.sql
\ir functions/_completion_answer.sql
\ir functions/_conditions.sql
\ir functions/_cursor.sql
\ir functions/_delete_jobs.sql
\ir functions/_expiry.sql
\ir functions/_fail.sql
\ir functions/_failure_answer.sql
\ir functions/_fingerprint.sql
\ir functions/_finished_since.sql
\ir functions/_first_due.sql
\ir functions/_first_expiry.sql
\ir functions/_fold.sql
\ir functions/_follow_clock.sql
\ir functions/_groups.sql
\ir functions/_hold_in_turns.sql
\ir functions/_hold_settings.sql
\ir functions/_id_at.sql
\ir functions/_is_field.sql
\ir functions/_is_served.sql
\ir functions/_is_storable.sql
\ir functions/_keep_cursor.sql
\ir functions/_known_jobs.sql
\ir functions/_lanes.sql
\ir functions/_lanes_after.sql
\ir functions/_lease.sql
\ir functions/_level.sql
\ir functions/_lock_limits.sql
\ir functions/_lowest_id.sql
\ir functions/_matching_ids.sql
\ir functions/_move_cursor.sql
\ir functions/_next_wake.sql
\ir functions/_open_queues.sql
\ir functions/_owners_lanes.sql
\ir functions/_pages.sql
\ir functions/_place.sql
\ir functions/_places.sql
\ir functions/_promote.sql
\ir functions/_provider_pause.sql
\ir functions/_providers_of.sql
\ir functions/_prune_actions.sql
\ir functions/_prune_batches.sql
\ir functions/_prune_jobs.sql
\ir functions/_queues.sql
\ir functions/_read_settlements.sql
\ir functions/_record_action.sql
\ir functions/_record_shape.sql
\ir functions/_refuse_mismatch.sql
\ir functions/_remember_turns.sql
\ir functions/_remember_unsuccessful.sql
\ir functions/_requeue.sql
\ir functions/_reserve_batch.sql
\ir functions/_reserve_jobs.sql
\ir functions/_retry.sql
\ir functions/_rights.sql
\ir functions/_seconds_since.sql
\ir functions/_send_probes.sql
\ir functions/_sent_jobs.sql
\ir functions/_services.sql
\ir functions/_settings_key.sql
\ir functions/_settings_keys.sql
\ir functions/_settle_failure.sql
\ir functions/_settlement.sql
\ir functions/_settlement_complaint.sql
\ir functions/_shape.sql
\ir functions/_spend.sql
\ir functions/_stats_backlog.sql
\ir functions/_stats_errors.sql
\ir functions/_store_jobs.sql
\ir functions/_take.sql
\ir functions/_unlease.sql
\ir functions/_unplace.sql
\ir functions/_unprobed.sql
\ir functions/batch_with_key.sql
\ir functions/cancel_job.sql
\ir functions/cancel_jobs.sql
\ir functions/check_installation.sql
\ir functions/check_job_version.sql
\ir functions/check_queue_version.sql
\ir functions/claim_jobs.sql
\ir functions/claim_work.sql
\ir functions/complete_job.sql
\ir functions/create_batch.sql
\ir functions/create_each.sql
\ir functions/create_job.sql
\ir functions/create_jobs.sql
\ir functions/delete_jobs.sql
\ir functions/fail_job.sql
\ir functions/get_batch.sql
\ir functions/get_job.sql
\ir functions/heartbeat_job.sql
\ir functions/heartbeat_jobs.sql
\ir functions/inspect_replication.sql
\ir functions/inspect_rights.sql
\ir functions/inspect_server.sql
\ir functions/inspect_shape.sql
\ir functions/inspect_upkeep.sql
\ir functions/inspect_work.sql
\ir functions/installed_files.sql
\ir functions/is_batch_of.sql
\ir functions/job_json.sql
\ir functions/job_version.sql
\ir functions/jobs_of_owner.sql
\ir functions/list_attempts.sql
\ir functions/list_jobs.sql
\ir functions/list_queues.sql
\ir functions/list_workers.sql
\ir functions/matching_jobs.sql
\ir functions/new_id.sql
\ir functions/next_wake.sql
\ir functions/pause_queue.sql
\ir functions/prune_jobs.sql
\ir functions/queue_json.sql
\ir functions/queue_version.sql
\ir functions/recover_jobs.sql
\ir functions/release_job.sql
\ir functions/report_provider.sql
\ir functions/resume_queue.sql
\ir functions/retry_job.sql
\ir functions/retry_jobs.sql
\ir functions/seconds_until.sql
\ir functions/set_queue.sql
\ir functions/settle_each.sql
\ir functions/settle_jobs.sql
\ir functions/stats.sql
\ir functions/sweep.sql
\ir functions/touch_worker.sql
\ir functions/unfinished_in_batch.sql

\ir triggers/count_jobs.sql
\ir triggers/count_scheduled.sql
\ir triggers/count_unsuccessful.sql
\ir triggers/end_probes.sql
\ir triggers/guard_job.sql
\ir triggers/guard_outcome.sql
\ir triggers/guard_place.sql
\ir triggers/notify_cancelled.sql
\ir triggers/notify_finished.sql
\ir triggers/notify_provider.sql
\ir triggers/notify_queue.sql
\ir triggers/notify_ready.sql
\ir triggers/notify_scheduled.sql
\ir triggers/settle_limits.sql

\ir grants.sql

do $$ begin perform aiserv._record_shape(); end; $$;
commit;
