"""Who holds a job: the fence, claims, leases, and workers that are gone."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "of several that name one job only the first is looked at, whoever sent it",
        "sql/functions/_complete.sql",
        "distinct on (item.job_id, item.attempt, item.worker_id)",
        "distinct on (item.job_id, item.attempt)",
        "tests/sql/test_settle_each.py::test_the_holder_is_heard_though_another_worker_names_the_same_job_before_it",
    ),
    Mutant(
        "settle by id alone",
        "sql/functions/_complete.sql",
        "          and lease.attempt = coalesce(item.attempt, lease.attempt)\n"
        "          and lease.worker_id = coalesce(item.worker_id, lease.worker_id)\n",
        "",
        "tests/sql/test_fencing.py::test_a_late_attempt_cannot_touch_the_job_of_its_successor",
    ),
    Mutant(
        "complete checks no attempt",
        "sql/functions/_complete.sql",
        "          and lease.attempt = coalesce(item.attempt, lease.attempt)\n",
        "",
        "tests/sql/test_fencing.py::test_a_late_attempt_cannot_touch_the_job_of_its_successor",
    ),
    Mutant(
        "fail checks no attempt",
        "sql/functions/_fail.sql",
        "          and lease.attempt = coalesce(_fail.attempt, lease.attempt)\n",
        "",
        "tests/sql/test_fencing.py::test_a_late_attempt_cannot_touch_the_job_of_its_successor",
    ),
    Mutant(
        "release checks no attempt",
        "sql/functions/release_job.sql",
        "      and lease.attempt = coalesce(release_job.attempt, lease.attempt)\n",
        "",
        "tests/sql/test_fencing.py::test_a_late_attempt_cannot_touch_the_job_of_its_successor",
    ),
    Mutant(
        "a heartbeat checks no attempt",
        "sql/functions/heartbeat_job.sql",
        "      and held.attempt = coalesce(heartbeat_job.attempt, held.attempt)\n",
        "",
        "tests/sql/test_fencing.py::test_a_late_attempt_cannot_touch_the_job_of_its_successor",
    ),
    Mutant(
        "heartbeats check no attempt",
        "sql/functions/heartbeat_jobs.sql",
        " and lease.attempt = item.attempt",
        "",
        "tests/sql/test_fencing.py::test_heartbeats_of_many_name_those_still_held",
    ),
    Mutant(
        "a cancel leaves the lease",
        "sql/functions/_cancel.sql",
        "delete from aiserv.lease as lease using held where lease.job_id between held.job_id and held.job_id"
        " returning lease.*",
        "select lease.* from aiserv.lease as lease join held using (job_id)",
        "tests/sql/test_interleavings.py::test_two_transitions_at_once_end_as_one_after_the_other[cancel]",
    ),
    Mutant(
        "claims wait for each other",
        "sql/functions/_take.sql",
        "            limit _take.max_jobs\n            for update skip locked",
        "            limit _take.max_jobs\n            for update",
        "tests/sql/test_races.py::test_two_claims_never_wait_for_each_other_nor_share_a_job",
    ),
    Mutant(
        "a claim of many owners locks nothing",
        "sql/functions/_hold_in_turns.sql",
        "        for update of ready skip locked\n",
        "",
        "tests/sql/test_races.py::test_a_claim_locks_only_what_it_takes",
    ),
    Mutant(
        "a claim locks nothing",
        "sql/functions/_take.sql",
        "            limit _take.max_jobs\n            for update skip locked",
        "            limit _take.max_jobs",
        "tests/sql/test_races.py::test_two_claims_never_wait_for_each_other_nor_share_a_job",
    ),
    Mutant(
        "leases begin with the transaction",
        "sql/functions/_lease.sql",
        "moment := clock_timestamp();",
        "moment := now();",
        "tests/sql/test_races.py::test_times_are_those_of_the_moment_also_in_a_long_transaction",
    ),
    Mutant(
        "leases are judged by the beginning of the transaction",
        "sql/functions/recover_jobs.sql",
        "        where lease.lease_expires_at < clock_timestamp()\n",
        "        where lease.lease_expires_at < now()\n",
        "tests/sql/test_recovery.py::test_a_lease_that_runs_out_during_a_transaction_is_over_in_it",
    ),
    Mutant(
        "a heartbeat makes a lease shorter",
        "sql/functions/heartbeat_job.sql",
        "greatest(\n            held.lease_expires_at, clock_timestamp()",
        "greatest(\n            clock_timestamp()",
        "tests/sql/test_fencing.py::test_a_heartbeat_never_makes_a_lease_shorter",
    ),
    Mutant(
        "the sweep judges, and then takes by id",
        "sql/functions/recover_jobs.sql",
        "        for update skip locked\n"
        "    ),\n"
        "    gone as (\n"
        "        -- `between`: see _complete.\n"
        "        delete from aiserv.lease as lease\n"
        "        using expired\n"
        "        where lease.job_id between expired.job_id and expired.job_id"
        " and lease.lease_expires_at < clock_timestamp()\n",
        "    ),\n"
        "    gone as (\n"
        "        delete from aiserv.lease as lease\n"
        "        using expired\n"
        "        where lease.job_id between expired.job_id and expired.job_id\n",
        "tests/sql/test_interleavings.py::test_two_transitions_at_once_end_as_one_after_the_other[heartbeat]",
    ),
    Mutant(
        "a poison job runs for ever",
        "sql/functions/recover_jobs.sql",
        "job.lost_leases >= 2",
        "job.lost_leases >= 20",
        "tests/sql/test_recovery.py::test_the_third_lost_lease_in_a_row_fails_the_job",
    ),
    Mutant(
        "a release forgets nothing",
        "sql/functions/_requeue.sql",
        "else 0 end,",
        "else job.lost_leases end,",
        "tests/sql/test_recovery.py::test_any_other_ending_of_an_attempt_breaks_the_row",
    ),
    Mutant(
        "heartbeats make leases shorter",
        "sql/functions/heartbeat_jobs.sql",
        "greatest(\n            held.lease_expires_at, clock_timestamp()",
        "greatest(\n            clock_timestamp()",
        "tests/sql/test_fencing.py::test_a_heartbeat_never_makes_a_lease_shorter",
    ),
    Mutant(
        "who holds one lease keeps the others from being renewed",
        "sql/functions/heartbeat_jobs.sql",
        "            for update skip locked\n",
        "            for update\n",
        "tests/sql/test_races.py::test_a_lease_that_somebody_holds_does_not_keep_the_others_from_being_renewed",
    ),
    Mutant(
        "a claim id is everybody's",
        "sql/functions/claim_jobs.sql",
        "lease.worker_id = claim_jobs.worker_id and lease.claim_id",
        "lease.claim_id",
        "tests/sql/test_fencing.py::test_a_repeated_claim_returns_what_still_runs_of_it",
    ),
    Mutant(
        "a repeated claim claims again",
        "sql/functions/claim_jobs.sql",
        "        if found then\n",
        "        if false then\n",
        "tests/sql/test_fencing.py::test_a_repeated_claim_returns_what_still_runs_of_it",
    ),
    Mutant(
        "a claim does not wait for the disk",
        "sql/functions/_claim.sql",
        "    if claimed = _claim.max_jobs then\n        return;\n    end if;\n",
        "    perform set_config('synchronous_commit', 'off', true);\n",
        "tests/faults/test_postgres_restarts.py::test_a_claim_survives_a_crash_and_its_number_is_given_out_once",
    ),
    Mutant(
        "patience begins anew with every claim",
        "sql/functions/release_job.sql",
        "coalesce(job.first_claim_at, lease.started_at)",
        "lease.started_at",
        "tests/sql/test_patience.py::test_patience_counts_from_the_first_claim_however_that_attempt_ended",
    ),
    Mutant(
        "workers get no large inputs",
        "sql/functions/claim_work.sql",
        "if leased.input is null then",
        "if false then",
        "tests/sql/test_claim_work.py::test_inputs_come_whole_whatever_their_size[claim_work]",
    ),
    Mutant(
        "claims by function give no large inputs",
        "sql/functions/claim_jobs.sql",
        "if leased.input is null then",
        "if false then",
        "tests/sql/test_claim_work.py::test_inputs_come_whole_whatever_their_size[claim_jobs]",
    ),
    Mutant(
        "a lease that was passed over is not looked for again",
        "sql/functions/_first_expiry.sql",
        "return least(soonest, (kept ->> 'until')::timestamptz);",
        "return soonest;",
        "tests/sql/test_long_transaction.py::test_who_may_have_missed_a_lease_looks_from_the_head_within_five_seconds",
    ),
]
