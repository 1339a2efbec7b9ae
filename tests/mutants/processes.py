"""Servers and workers: waking, leases, settlements, readiness."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "leases are renewed when it is nearly too late",
        "workers/lease.py",
        "pause = self._lease.total_seconds() / 3",
        "pause = self._lease.total_seconds() / 1.5",
        "tests/workers/test_lease.py -k every_third",
    ),
    Mutant(
        "a lost lease stops nobody",
        "workers/lease.py",
        "                self._lost(job_id, attempt)\n",
        "                pass\n",
        "tests/workers/test_lease.py -k not_held",
    ),
    Mutant(
        "nobody looks for what was missed after a reconnect",
        "aiserv/listener.py",
        "            self._on_connect()\n",
        "            if not self.reconnects:\n                self._on_connect()\n",
        "tests/workers/test_listener.py -k killed",
    ),
    Mutant(
        "nobody looks once the process listens",
        "aiserv/listener.py",
        "            self.reconnects += 1\n            self._on_connect()\n",
        "            self.reconnects += 1\n",
        "tests/workers/test_listener.py -k killed",
    ),
    Mutant(
        "a worker takes its event after the look",
        "workers/worker.py",
        "            woken = self._wake.next\n            pause = await self._claim_for_free_slots(hands)\n",
        "            pause = await self._claim_for_free_slots(hands)\n            woken = self._wake.next\n",
        "tests/workers/test_worker.py -k between_looking",
    ),
    Mutant(
        "the client of the model tries twice more",
        "workers/executors/chat_client.py",
        "max_retries=0,",
        "max_retries=2,",
        "tests/workers/test_chat_errors.py -k cause_decides",
    ),
    Mutant(
        "readiness waits for the pool of the requests",
        "aiserv/api/process.py",
        "            probe_database,\n",
        "            database,\n",
        "tests/api/test_errors.py -k readiness",
    ),
    Mutant(
        "one bad settlement fails its neighbours",
        "workers/settle.py",
        "if len(group) > 1 or not is_final:",
        "if not is_final:",
        "tests/workers/test_settle.py -k refuses",
    ),
    Mutant(
        "a settlement is dropped when PostgreSQL is away",
        "workers/settle.py",
        "self._waiting.extendleft(reversed(group))",
        "self._waiting.extendleft(reversed(group) if is_final else ())",
        "tests/workers/test_settle.py -k outlives",
    ),
    Mutant(
        "leases are judged by the clock of the worker",
        "workers/lease.py",
        "            if job_id in kept:\n",
        "            if job_id in kept and kept[job_id] > datetime.now(kept[job_id].tzinfo):\n",
        "tests/workers/test_lease.py -k clock_of_the_worker",
    ),
    Mutant(
        "who waits for a job is written down after the read",
        "aiserv/api/finished.py",
        "        self._waiters.setdefault(job_id, set()).add(waiter)\n        self._want({job_id})\n",
        "        self._want({job_id})\n        self._waiters.setdefault(job_id, set())\n",
        "tests/api/test_waiting.py -k ends_with_the_job",
    ),
    Mutant(
        "a waiting claim takes its event after the look",
        "aiserv/api/waiting_claims.py",
        "            woken = lane.wake.next\n"
        "            # Never cancelled: it might have claimed already.\n"
        "            jobs = await claim()\n",
        "            # Never cancelled: it might have claimed already.\n"
        "            jobs = await claim()\n"
        "            woken = lane.wake.next\n",
        "tests/api/test_claims.py -k not_missed",
    ),
]
