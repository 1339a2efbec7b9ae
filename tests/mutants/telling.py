"""Notifications and counters."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "the worker is told of nothing",
        "sql/triggers/notify_cancelled.sql",
        "where moved.outcome in ('cancelled', 'superseded', 'lease_expired')",
        "where false",
        "tests/sql/test_notifications.py::test_what_becomes_of_a_running_job_is_announced",
    ),
    Mutant(
        "jobs become ready in silence",
        "sql/triggers/notify_ready.sql",
        "for each statement\nexecute function aiserv._notify_ready();",
        "for each statement\nwhen (false)\nexecute function aiserv._notify_ready();",
        "tests/sql/test_notifications.py::test_a_new_job_announces_its_profile",
    ),
    Mutant(
        "jobs finish in silence",
        "sql/triggers/notify_finished.sql",
        "where moved.outcome is not null",
        "where moved.outcome = 'failed'",
        "tests/sql/test_notifications.py::test_what_becomes_of_a_running_job_is_announced",
    ),
    Mutant(
        "completions are not counted",
        "sql/triggers/count_jobs.sql",
        "        where moved.outcome = 'completed'\n",
        "        where moved.outcome = 'failed'\n",
        "tests/sql/test_stats.py::test_the_numbers_equal_a_count_after_any_history_folded_or_not",
    ),
    Mutant(
        "a retried failure is still counted",
        "sql/triggers/count_unsuccessful.sql",
        "sign integer := case tg_op when 'INSERT' then 1 else -1 end;",
        "sign integer := case tg_op when 'INSERT' then 1 else 0 end;",
        "tests/sql/test_stats.py::test_the_numbers_equal_a_count_after_any_history_folded_or_not",
    ),
    Mutant(
        "promoted jobs stay counted as scheduled",
        "sql/triggers/count_scheduled.sql",
        "sign integer := case tg_op when 'INSERT' then 1 else -1 end;",
        "sign integer := case tg_op when 'INSERT' then 1 else 0 end;",
        "tests/sql/test_stats.py::test_the_numbers_equal_a_count_after_any_history_folded_or_not",
    ),
    Mutant(
        "a fold loses the minutes of failures",
        "sql/functions/_fold.sql",
        "gone.completed <> 0 or gone.failed <> 0",
        "gone.completed <> 0",
        "tests/sql/test_stats.py::test_the_numbers_equal_a_count_after_any_history_folded_or_not",
    ),
    Mutant(
        "a job is announced when it is claimed",
        "sql/triggers/notify_ready.sql",
        "after insert on aiserv.ready\nreferencing new table as moved",
        "after delete on aiserv.ready\nreferencing old table as moved",
        "tests/sql/test_notifications.py::test_a_new_job_announces_its_profile",
    ),
    Mutant(
        "who comes due soon relies on what may be gone at the commit",
        "sql/triggers/notify_scheduled.sql",
        "first.run_at < clock_timestamp() + interval '45 seconds'\n           or not exists",
        "not exists",
        "tests/sql/test_notifications.py"
        "::test_a_job_due_soon_is_announced_although_an_earlier_one_was_seen_that_is_gone_when_it_commits",
    ),
    Mutant(
        "a short lease is announced to nobody",
        "sql/functions/_lease.sql",
        "if claimer.lease < interval '45 seconds' then",
        "if false then",
        "tests/sql/test_notifications.py::test_a_lease_that_could_run_out_between_two_looks_is_announced",
    ),
    Mutant(
        "a resumed queue wakes nobody",
        "sql/triggers/notify_queue.sql",
        "perform pg_notify('aiserv_ready', new.model_profile);",
        "null;",
        "tests/sql/test_notifications.py::test_resuming_raising_a_limit_and_a_freed_slot_wake_the_workers",
    ),
    Mutant(
        "lost notifications are not admitted",
        "aiserv/api/event_log.py",
        "        self._kept.clear()\n        self._last += 1\n",
        "        self._kept.clear()\n",
        "tests/api/test_events.py::test_lost_notifications_are_admitted",
    ),
    Mutant(
        "streams wait for PostgreSQL one behind the other",
        "aiserv/api/event_log.py",
        "self._failures > failures",
        "False",
        "tests/api/test_failing_events.py::test_streams_that_wait_for_a_read_that_fails_do_not_wait_for_another",
    ),
    Mutant(
        "streams hammer at who does not answer",
        "aiserv/api/event_log.py",
        "await self._stopped.wait()",
        "await woken.wait()",
        "tests/api/test_failing_events.py::test_a_stream_outlives_that_events_cannot_be_read",
    ),
    Mutant(
        "a client that goes has asked for nonsense",
        "aiserv/api/middlewares.py",
        "GONE if isinstance(error, ConnectionError) else None",
        "None",
        "tests/api/test_overview.py::test_a_client_that_goes_is_none_that_asked_for_nonsense",
    ),
    Mutant(
        "labels beyond their names are dropped",
        "aiserv/counters.py",
        "zip(names, labels, strict=True)",
        "zip(names, labels, strict=False)",
        "tests/test_counters.py::test_labels_that_are_more_or_fewer_than_their_names_are_not_dropped",
    ),
]
