"""Who holds a job: the fence, claims, leases, and workers that are gone."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "settle by id alone",
        "sql/functions/_complete.sql",
        "          and lease.attempt = coalesce(item.attempt, lease.attempt)\n"
        "          and lease.worker_id = coalesce(item.worker_id, lease.worker_id)\n",
        "",
        "tests/sql/test_fencing.py -k late_attempt",
    ),
    Mutant(
        "complete checks no attempt",
        "sql/functions/_complete.sql",
        "          and lease.attempt = coalesce(item.attempt, lease.attempt)\n",
        "",
        "tests/sql/test_fencing.py -k late_attempt",
    ),
    Mutant(
        "fail checks no attempt",
        "sql/functions/_fail.sql",
        "          and lease.attempt = coalesce(_fail.attempt, lease.attempt)\n",
        "",
        "tests/sql/test_fencing.py -k late_attempt",
    ),
    Mutant(
        "release checks no attempt",
        "sql/functions/release_job.sql",
        "      and lease.attempt = coalesce(release_job.attempt, lease.attempt)\n",
        "",
        "tests/sql/test_fencing.py -k late_attempt",
    ),
    Mutant(
        "a heartbeat checks no attempt",
        "sql/functions/heartbeat_job.sql",
        "      and held.attempt = coalesce(heartbeat_job.attempt, held.attempt)\n",
        "",
        "tests/sql/test_fencing.py -k late_attempt",
    ),
    Mutant(
        "heartbeats check no attempt",
        "sql/functions/heartbeat_jobs.sql",
        "where held.job_id = item.job_id and held.attempt = item.attempt",
        "where held.job_id = item.job_id",
        "tests/sql/test_fencing.py -k heartbeats_of_many",
    ),
    Mutant(
        "a cancel leaves the lease",
        "sql/functions/_cancel.sql",
        "delete from aiserv.lease as lease using held where lease.job_id = held.job_id returning lease.*",
        "select lease.* from aiserv.lease as lease join held using (job_id)",
        "tests/sql/test_transitions.py -k cancel_job-running",
    ),
    Mutant(
        "claims wait for each other",
        "sql/functions/_hold.sql",
        "            limit _hold.max_jobs\n            for update skip locked",
        "            limit _hold.max_jobs\n            for update",
        "tests/sql/test_races.py",
    ),
    Mutant(
        "a claim of many owners locks nothing",
        "sql/functions/_hold.sql",
        "        for update of ready skip locked\n",
        "",
        "tests/sql/test_races.py -k only_what_it_takes",
    ),
    Mutant(
        "a claim locks nothing",
        "sql/functions/_hold.sql",
        "            limit _hold.max_jobs\n            for update skip locked",
        "            limit _hold.max_jobs",
        "tests/sql/test_races.py -k never_wait",
    ),
    Mutant(
        "leases begin with the transaction",
        "sql/functions/_lease.sql",
        "select clock_timestamp() as now from taken limit 1",
        "select now() as now from taken limit 1",
        "tests/sql/test_races.py -k long_transaction",
    ),
    Mutant(
        "leases are judged by the beginning of the transaction",
        "sql/functions/recover_jobs.sql",
        "        where lease.lease_expires_at < clock_timestamp()\n",
        "        where lease.lease_expires_at < now()\n",
        "tests/sql/test_recovery.py -k during_a_transaction",
    ),
    Mutant(
        "a heartbeat makes a lease shorter",
        "sql/functions/heartbeat_job.sql",
        "greatest(\n            held.lease_expires_at, clock_timestamp()",
        "greatest(\n            clock_timestamp()",
        "tests/sql/test_fencing.py -k shorter",
    ),
    Mutant(
        "the sweep judges, and then takes by id",
        "sql/functions/recover_jobs.sql",
        "        for update skip locked\n"
        "    ),\n"
        "    gone as (\n"
        "        delete from aiserv.lease as lease\n"
        "        using expired\n"
        "        where lease.job_id = expired.job_id and lease.lease_expires_at < clock_timestamp()\n",
        "    ),\n"
        "    gone as (\n"
        "        delete from aiserv.lease as lease\n"
        "        using expired\n"
        "        where lease.job_id = expired.job_id\n",
        "tests/sql/test_interleavings.py -k heartbeat",
    ),
    Mutant(
        "a poison job runs for ever",
        "sql/functions/recover_jobs.sql",
        "job.lost_leases >= 2",
        "job.lost_leases >= 20",
        "tests/sql/test_recovery.py -k third",
    ),
    Mutant(
        "a release forgets nothing",
        "sql/functions/_requeue.sql",
        "else 0 end,",
        "else job.lost_leases end,",
        "tests/sql/test_recovery.py -k breaks_the_row",
    ),
]
