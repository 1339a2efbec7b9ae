"""Limits, pauses, turns, and providers in trouble."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "two claims count the same room",
        "sql/functions/_lock_limits.sql",
        "    order by setting.model_profile, setting.task_type\n    for update;\n",
        "    order by setting.model_profile, setting.task_type;\n    return;\n",
        "tests/sql/test_queues.py -k exact",
    ),
    Mutant(
        "of two limits the looser holds",
        "sql/functions/_open_queues.sql",
        "            min(least(\n",
        "            max(least(\n",
        "tests/sql/test_queues.py -k tighter",
    ),
    Mutant(
        "a pause is no pause",
        "sql/functions/_open_queues.sql",
        "where not room.paused and ",
        "where ",
        "tests/sql/test_queues.py -k paused_profile",
    ),
    Mutant(
        "owners do not take turns",
        "sql/functions/_take.sql",
        "if cardinality(lanes) > 1 and _take.job_ids <> '{}' then",
        "if false then",
        "tests/sql/test_claim_order.py -k turns",
    ),
    Mutant(
        "two probes at once",
        "sql/functions/_unprobed.sql",
        " and lease.job_id is null\n",
        "\n",
        "tests/sql/test_probes.py",
    ),
    Mutant(
        "the success of a probe opens nothing",
        "sql/triggers/end_probes.sql",
        " and job.outcome = 'completed';",
        " and job.outcome = 'cancelled';",
        "tests/sql/test_probes.py",
    ),
    Mutant(
        "a probe that ends otherwise is left behind",
        "sql/triggers/end_probes.sql",
        "    set probe_job_id = null,\n        probe_attempt = null\n    from gone",
        "    set probe_job_id = provider.probe_job_id\n    from gone",
        "tests/sql/test_probes.py",
    ),
    Mutant(
        "each attempt under way makes the pause longer",
        "sql/functions/report_provider.sql",
        "    where (known.probe_job_id, known.probe_attempt) = (report_provider.job_id, report_provider.attempt)\n"
        "       or report_provider.job_id is null and known.paused_until <= moment\n",
        "",
        "tests/sql/test_providers.py",
    ),
]
