"""Transitions by callers and operators, and what nobody may do by hand."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "a cancelled job may be retried",
        "sql/functions/_retry.sql",
        "held.outcome = 'failed' and ",
        "",
        "tests/sql/test_transitions.py"
        "::test_a_verb_leads_from_a_state_where_the_table_says_or_changes_nothing[retry_job-cancelled]",
    ),
    Mutant(
        "a completed job may be retried",
        "sql/functions/_retry.sql",
        " into failed from gone;\n",
        " into failed from gone;\n"
        "    failed := failed || array(select job.id from aiserv.job as job where job.outcome = 'completed');\n",
        "tests/sql/test_transitions.py"
        "::test_a_verb_leads_from_a_state_where_the_table_says_or_changes_nothing[retry_job-completed]",
    ),
    Mutant(
        "a retry keeps the failures",
        "sql/functions/_retry.sql",
        "        failures = 0,\n",
        "",
        "tests/sql/test_transitions.py::test_a_retried_job_begins_anew_and_keeps_counting_attempts",
    ),
    Mutant(
        "a retry of many looks once",
        "sql/functions/retry_jobs.sql",
        "for pass in 1..10 loop",
        "for pass in 1..1 loop",
        "tests/sql/test_interleavings.py::test_two_transitions_at_once_end_as_one_after_the_other[claim]",
    ),
    Mutant(
        "a cancel of many looks once",
        "sql/functions/cancel_jobs.sql",
        "for pass in 1..10 loop",
        "for pass in 1..1 loop",
        "tests/sql/test_races.py::test_a_cancel_finds_a_job_that_hops_back_to_pending",
    ),
    Mutant(
        "failures and completions take leases in two orders",
        "sql/functions/settle_jobs.sql",
        "perform from aiserv.lease as lease where lease.job_id = any(job_ids) order by lease.job_id for update;",
        "",
        "tests/sql/test_races.py::test_a_failure_and_a_completion_in_one_call_do_not_deadlock_with_a_cancel",
    ),
    Mutant(
        "a settlement that makes no sense refuses all",
        "sql/functions/_settlement_complaint.sql",
        "when data_exception or sqlstate 'JV400' then",
        "when sqlstate 'JV400' then",
        "tests/sql/test_settle_jobs.py::test_a_settlement_that_makes_no_sense_fails_alone",
    ),
    Mutant(
        "a settlement that makes no sense is taken",
        "sql/functions/_read_settlements.sql",
        "case when each.complaint is null then each.item end",
        "each.item",
        "tests/sql/test_settle_jobs.py::test_a_settlement_that_makes_no_sense_fails_alone",
    ),
    Mutant(
        "a job has one failure more than it may",
        "sql/functions/_fail.sql",
        "job.failures + 1 < job.max_attempts",
        "job.failures + 1 <= job.max_attempts",
        "tests/sql/test_failures.py::test_a_retryable_failure_sends_the_job_back_until_there_were_max_attempts",
    ),
    Mutant(
        "a finished job may be changed",
        "sql/triggers/guard_job.sql",
        "or old.outcome is not null and not (old.outcome = 'failed' and new.outcome is null))",
        "or false)",
        "tests/sql/test_guards.py::test_a_finished_job_stays_as_it_is",
    ),
    Mutant(
        "a finished job may begin anew",
        "sql/triggers/guard_job.sql",
        "(old.outcome = 'failed' and new.outcome is null)",
        "(new.outcome is null)",
        "tests/sql/test_guards.py::test_a_final_state_is_final",
    ),
    Mutant(
        "attempts may shrink",
        "sql/triggers/guard_job.sql",
        "when (new.attempt < old.attempt or ",
        "when (",
        "tests/sql/test_guards.py::test_the_count_of_attempts_never_falls",
    ),
    Mutant(
        "a job may lie in two places",
        "sql/triggers/guard_place.sql",
        "<> 1\n",
        "> 9\n",
        "tests/sql/test_guards.py::test_a_job_is_in_one_place_at_a_time_and_in_none_when_it_is_finished",
    ),
    Mutant(
        "what waits may be finished by hand",
        "sql/triggers/guard_outcome.sql",
        "where job.outcome is not null\n",
        "where false\n",
        "tests/sql/test_guards.py::test_a_job_that_is_not_finished_cannot_be_finished_or_deleted_by_hand",
    ),
    Mutant(
        "a verb does not look at the version it is for",
        "sql/functions/check_job_version.sql",
        "if not aiserv.job_version(actual) = any(check_job_version.versions) then",
        "if false then",
        "tests/api/test_versions.py::test_a_verb_may_name_the_version_it_is_for",
    ),
    Mutant(
        "what comes back waits for a clock that has gone back",
        "sql/functions/_requeue.sql",
        "case when _requeue.delay is null then 'infinity' else moment end",
        "moment",
        "tests/sql/test_transitions.py::test_a_job_that_comes_back_is_due_though_the_clock_has_gone_back",
    ),
]
