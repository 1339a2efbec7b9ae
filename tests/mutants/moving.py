"""Transitions by callers and operators, and what nobody may do by hand."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "a cancelled job may be retried",
        "sql/functions/_retry.sql",
        "unsuccessful.outcome = 'failed' and ",
        "",
        "tests/sql/test_transitions.py -k retry_job-cancelled",
    ),
    Mutant(
        "a retry keeps the failures",
        "sql/functions/_retry.sql",
        "        failures = 0,\n",
        "",
        "tests/sql/test_transitions.py -k begins_anew",
    ),
    Mutant(
        "a retry of many looks once",
        "sql/functions/retry_jobs.sql",
        "for pass in 1..10 loop",
        "for pass in 1..1 loop",
        "tests/sql/test_interleavings.py -k claim",
    ),
    Mutant(
        "a cancel of many looks once",
        "sql/functions/cancel_jobs.sql",
        "for pass in 1..10 loop",
        "for pass in 1..1 loop",
        "tests/sql/test_races.py -k hops",
    ),
    Mutant(
        "failures and completions take leases in two orders",
        "sql/functions/settle_jobs.sql",
        "perform from aiserv.lease as lease where lease.job_id = any(job_ids) order by lease.job_id for update;",
        "",
        "tests/sql/test_races.py -k failure_and_a_completion",
    ),
    Mutant(
        "a job has one failure more than it may",
        "sql/functions/_fail.sql",
        "job.failures + 1 < job.max_attempts",
        "job.failures + 1 <= job.max_attempts",
        "tests/sql/test_failures.py",
    ),
    Mutant(
        "a finished job may be changed",
        "sql/triggers/guard_job.sql",
        "or old.outcome is not null and not (old.outcome = 'failed' and new.outcome is null))",
        "or false)",
        "tests/sql/test_guards.py -k finished_job_stays",
    ),
    Mutant(
        "attempts may shrink",
        "sql/triggers/guard_job.sql",
        "when (new.attempt < old.attempt or ",
        "when (",
        "tests/sql/test_guards.py -k never_falls",
    ),
    Mutant(
        "a job may lie in two places",
        "sql/triggers/guard_place.sql",
        "<> 1\n",
        "> 9\n",
        "tests/sql/test_guards.py -k one_place",
    ),
    Mutant(
        "what waits may be finished by hand",
        "sql/triggers/guard_outcome.sql",
        "coalesce(lease.job_id, ready.job_id, scheduled.job_id) is not null",
        "false",
        "tests/sql/test_guards.py -k cannot_be_finished",
    ),
]
