"""Servers and workers: waking, leases, settlements, readiness."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "jobs claimed beside settlements that broke are nobody's",
        "aiserv/api/claims.py",
        "        await give_back(request, claim, jobs)\n        raise broken",
        "        raise broken",
        "tests/api/test_settle.py::test_jobs_claimed_beside_settlements_that_break_are_given_back",
    ),
    Mutant(
        "a claim does not look for the room that its settlements made",
        "aiserv/api/claims.py",
        "jobs = jobs or await request.app",
        "jobs = jobs if settled else await request.app",
        "tests/api/test_settle.py::test_a_claim_gets_the_room_that_its_settlements_make",
    ),
    Mutant(
        "a settlement whose job is held elsewhere is refused at once",
        "aiserv/grouping.py",
        "if not alone and self._is_of_one(error):",
        "if len(group) > 1 and not alone and self._is_of_one(error):",
        "tests/api/test_settlements.py::test_a_settlement_whose_job_is_held_elsewhere_waits_alone",
    ),
    Mutant(
        "leases are renewed when it is nearly too late",
        "workers/lease.py",
        "pause = self._lease.total_seconds() / 3",
        "pause = self._lease.total_seconds() / 1.5",
        "tests/workers/test_lease.py::test_leases_are_renewed_every_third_of_their_length",
    ),
    Mutant(
        "a lost lease stops nobody",
        "workers/lease.py",
        "                self._lost(job_id, attempt)\n",
        "                pass\n",
        "tests/workers/test_lease.py::test_what_is_not_held_any_more_is_lost",
    ),
    Mutant(
        "nobody looks for what was missed after a reconnect",
        "aiserv/listener.py",
        "            self._on_connect()\n",
        "            if not self.reconnects:\n                self._on_connect()\n",
        "tests/workers/test_listener.py::test_a_listener_that_is_killed_comes_back_and_says_so",
    ),
    Mutant(
        "nobody looks once the process listens",
        "aiserv/listener.py",
        "            self.reconnects += 1\n            self._on_connect()\n",
        "            self.reconnects += 1\n",
        "tests/workers/test_listener.py::test_a_listener_that_is_killed_comes_back_and_says_so",
    ),
    Mutant(
        "the first look comes before the listening",
        "aiserv/listener.py",
        "            await self._subscribe(connection)\n"
        "            self.connected = True\n"
        "            self.reconnects += 1\n"
        "            self._on_connect()\n",
        "            self.connected = True\n"
        "            self.reconnects += 1\n"
        "            self._on_connect()\n"
        "            await self._subscribe(connection)\n",
        "tests/workers/test_listener.py::test_what_is_said_once_everybody_was_told_to_look_is_heard",
    ),
    Mutant(
        "a worker takes its event after the look",
        "workers/worker.py",
        "            woken = self._wake.next\n            pause = await self._claim_for_free_slots(tasks)\n",
        "            pause = await self._claim_for_free_slots(tasks)\n            woken = self._wake.next\n",
        "tests/workers/test_worker.py::test_a_job_committed_between_looking_and_waiting_starts_at_once",
    ),
    Mutant(
        "the client of the model tries twice more",
        "workers/executors/chat_client.py",
        "max_retries=0,",
        "max_retries=2,",
        "tests/workers/test_chat_errors.py::test_the_cause_decides_the_category",
    ),
    Mutant(
        "readiness waits for the pool of the requests",
        "aiserv/api/process.py",
        "            probe_database,\n",
        "            database,\n",
        "tests/api/test_unavailable.py::test_readiness_waits_for_no_connection_of_the_requests",
    ),
    Mutant(
        "one bad settlement fails its neighbours",
        "workers/settle.py",
        "if len(group) > 1 or not is_final:",
        "if not is_final:",
        "tests/workers/test_settle.py::test_one_that_a_trigger_of_somebody_refuses_fails_alone",
    ),
    Mutant(
        "a settlement is dropped when PostgreSQL is away",
        "workers/settle.py",
        "self._waiting.extend(group)",
        "self._waiting.extend(group if state == LOCK_NOT_AVAILABLE else ())",
        "tests/workers/test_settle.py::test_a_result_outlives_the_bad_days_of_postgresql",
    ),
    Mutant(
        "a settlement whose job somebody holds goes before the others",
        "workers/settle.py",
        "self._waiting.extend(group)",
        "self._waiting.extendleft(group)",
        "tests/workers/test_settle.py::test_a_settlement_whose_job_somebody_holds_holds_up_no_other",
    ),
    Mutant(
        "leases are judged by the clock of the worker",
        "workers/lease.py",
        "            if job_id in kept:\n",
        "            if job_id in kept and kept[job_id] > datetime.now(kept[job_id].tzinfo):\n",
        "tests/workers/test_lease.py::test_a_lease_that_is_over_by_the_clock_of_the_worker_alone_is_kept",
    ),
    Mutant(
        "who waits for a job is written down after the read",
        "aiserv/api/finished.py",
        "        self._waiters.setdefault(job_id, set()).add(waiter)\n        self._want({job_id})\n",
        "        self._want({job_id})\n        self._waiters.setdefault(job_id, set())\n",
        "tests/api/test_waiting.py::test_a_wait_ends_with_the_job",
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
        "tests/api/test_claims.py"
        "::test_a_job_that_comes_between_the_look_of_a_waiting_claim_and_its_rest_is_not_missed",
    ),
    Mutant(
        "a worker says once who it is",
        "workers/worker.py",
        "is_known = now < self._known_until",
        "is_known = self._known_until > 0",
        "tests/workers/test_worker.py::test_a_worker_says_again_who_it_is",
    ),
    Mutant(
        "a new primary does not hear who works",
        "workers/worker.py",
        "        self._known_until = 0.0\n        # Now the poll",
        "        # Now the poll",
        "tests/workers/test_worker.py::test_a_worker_that_was_cut_off_says_who_it_is",
    ),
    Mutant(
        "a cancel on the way to the worker is not heard",
        "workers/worker.py",
        "if self._cancel_heard:",
        "if False:",
        "tests/workers/test_lost_runs.py::test_a_cancel_while_the_job_is_on_its_way_to_the_worker_stops_it",
    ),
    Mutant(
        "a task that waits for jobs keeps its worker from ending",
        "workers/followers.py",
        "        self._is_over = True\n        self._wake()\n",
        "        self._is_over = True\n",
        "tests/workers/test_followers.py::test_no_task_stays_when_nothing_comes_any_more",
    ),
    Mutant(
        "what was claimed while draining runs",
        "workers/worker.py",
        "            if self.draining:\n",
        "            if False:\n",
        "tests/workers/test_draining.py::test_a_claim_under_way_when_draining_begins_gives_its_jobs_back",
    ),
    Mutant(
        "a connection that swallows notifications is believed",
        "aiserv/listener.py",
        "if not await self._arrives(connection, probe):",
        "if not connection:",
        "tests/workers/test_listener.py::test_a_connection_that_swallows_notifications_is_no_connection",
    ),
    Mutant(
        "a listener that hangs is not asked",
        "aiserv/listener.py",
        "                if is_quiet:\n",
        "                if False:\n",
        "tests/workers/test_listener.py::test_a_connection_that_is_open_and_silent_is_made_anew",
    ),
    Mutant(
        "connections that hang are asked whether they live",
        "aiserv/database.py",
        "await self._pool.drain()",
        "await self._pool.check()",
        "tests/test_database.py::test_connections_that_hang_are_replaced_without_being_asked",
    ),
    Mutant(
        "without a listener nobody polls",
        "workers/worker.py",
        "LOOK_SECONDS if heard else self.poll_interval",
        "LOOK_SECONDS",
        "tests/workers/test_worker.py::test_without_a_listener_the_poll_finds_a_job",
    ),
    Mutant(
        "a listener that ends breaks off what PostgreSQL owes it",
        "aiserv/listener.py",
        "with anyio.CancelScope(shield=True), suppress(psycopg.Error):",
        "with suppress(psycopg.Error):",
        "tests/workers/test_listener.py::test_a_listener_that_ends_while_postgresql_owes_it_an_answer_says_nothing",
    ),
    Mutant(
        "who has no descriptor left cannot hang up",
        "aiserv/listener.py",
        "same = socket.socket(fileno=connection.fileno())",
        "same = socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)",
        "tests/workers/test_listener.py::test_who_has_no_descriptor_left_can_hang_up",
    ),
    Mutant(
        "each attempt has a task of its own",
        "workers/followers.py",
        "if self._idle or self._is_over:",
        "if True:",
        "tests/workers/test_followers.py::test_one_task_runs_what_comes_one_by_one",
    ),
    Mutant(
        "an attempt that waits keeps the next from beginning",
        "workers/followers.py",
        "            self._call(tasks)\n            attempt.started = now\n",
        "            attempt.started = now\n",
        "tests/workers/test_followers.py::test_each_attempt_that_waits_has_a_task",
    ),
]
