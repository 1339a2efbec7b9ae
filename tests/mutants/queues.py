"""Limits, pauses, turns, and providers in trouble."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "two claims count the same room",
        "sql/functions/_lock_limits.sql",
        "    order by setting.model_profile, setting.task_type\n    for update;\n",
        "    order by setting.model_profile, setting.task_type;\n    return;\n",
        "tests/sql/test_queues.py::test_max_running_is_exact_with_eight_claimers_at_once",
    ),
    Mutant(
        "a claim does not see the trouble that came while it waited",
        "sql/functions/_claim.sql",
        "        troubled := troubled or exists (select from aiserv.provider);\n",
        "",
        "tests/sql/test_providers.py::test_a_claim_that_waits_for_the_settings_of_its_queue_sees_trouble_that_comes_meanwhile",
    ),
    Mutant(
        "of two limits the looser holds",
        "sql/functions/_open_queues.sql",
        "            min(least(\n",
        "            max(least(\n",
        "tests/sql/test_queues.py::test_of_a_profile_and_its_task_type_the_tighter_limit_holds",
    ),
    Mutant(
        "a pause is no pause",
        "sql/functions/_open_queues.sql",
        "where not room.paused and ",
        "where ",
        "tests/sql/test_queues.py::test_a_paused_profile_gives_nothing_until_it_is_resumed",
    ),
    Mutant(
        "owners do not take turns",
        "sql/functions/_take.sql",
        "if cardinality(_take.lanes) > 1 then",
        "if false then",
        "tests/sql/test_claim_order.py::test_owners_take_turns_with_one_slot",
    ),
    Mutant(
        "two probes at once",
        "sql/functions/_unprobed.sql",
        " and lease.job_id is null\n",
        "\n",
        "tests/sql/test_probes.py::test_a_claim_that_has_not_committed_holds_nobody_up_and_lets_no_second_probe_go",
    ),
    Mutant(
        "the success of a probe opens nothing",
        "sql/triggers/end_probes.sql",
        " and job.outcome = 'completed';",
        " and job.outcome = 'cancelled';",
        "tests/sql/test_probes.py::test_the_success_of_the_probe_opens_the_queue_at_once_and_wakes_everybody",
    ),
    Mutant(
        "a probe that ends otherwise is left behind",
        "sql/triggers/end_probes.sql",
        "    set probe_job_id = null,\n        probe_attempt = null\n    from gone",
        "    set probe_job_id = provider.probe_job_id\n    from gone",
        "tests/sql/test_probes.py::test_a_probe_that_proves_nothing_lets_another_go_at_once_and_says_so",
    ),
    Mutant(
        "each attempt under way makes the pause longer",
        "sql/functions/report_provider.sql",
        "    where (known.probe_job_id, known.probe_attempt) = (report_provider.job_id, report_provider.attempt)\n"
        "       or report_provider.job_id is null and known.paused_until <= moment\n",
        "",
        "tests/sql/test_providers.py::test_attempts_under_way_when_trouble_begins_count_once_but_what_they_were_told_holds",
    ),
    Mutant(
        "first settings do not wait for claims under way",
        "sql/functions/set_queue.sql",
        "    perform aiserv._hold_settings(set_queue.model_profile);\n",
        "",
        "tests/sql/test_queues.py::test_the_first_settings_of_a_queue_wait_for_the_claims_that_did_not_see_them",
    ),
    Mutant(
        "tokens that were not used are spent",
        "sql/triggers/settle_limits.sql",
        "setting.token_balance + held.unused",
        "setting.token_balance",
        "tests/sql/test_queues.py::test_tokens_are_reserved_at_the_claim_and_corrected_by_the_usage",
    ),
    Mutant(
        "a clock that is set back makes a pause an hour longer",
        "sql/functions/sweep.sql",
        "    perform aiserv._follow_clock();\n",
        "",
        "tests/sql/test_clock_set_back.py::test_a_provider_is_probed_after_its_pause_and_not_after_the_hour",
    ),
    Mutant(
        "workers leave it to servers to follow a clock that is set back",
        "sql/functions/claim_work.sql",
        "        perform aiserv._follow_clock();\n",
        "",
        "tests/sql/test_clock_set_back.py::test_a_lease_of_a_dead_worker_begins_anew[claim_work]",
    ),
    Mutant(
        "a lease that is renewed after the clock was set back keeps the hour",
        "sql/functions/heartbeat_jobs.sql",
        "aiserv._expiry(held.lease_expires_at, held.updated_at)",
        "held.lease_expires_at",
        "tests/sql/test_clock_set_back.py::test_a_lease_that_is_renewed_before_the_sweep_begins_anew_too[heartbeat_jobs]",
    ),
    Mutant(
        "a worker that says something new hides that the clock was set back",
        "sql/functions/touch_worker.sql",
        "greatest(worker.last_seen_at, excluded.last_seen_at)",
        "excluded.last_seen_at",
        "tests/sql/test_clock_set_back.py::test_a_worker_that_says_something_new_does_not_hide_that_the_clock_was_set_back",
    ),
]
