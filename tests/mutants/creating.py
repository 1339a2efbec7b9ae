"""How jobs come into being: keys, batches, groups of single creates, room."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "keys are reserved in the order of the batch",
        "sql/functions/_reserve_jobs.sql",
        "            select distinct on (keyed.owner_service, keyed.idempotency_key)\n"
        "                keyed.owner_service, keyed.idempotency_key, fresh[keyed.place], keyed.fingerprint\n"
        "            from keyed\n"
        "            order by keyed.owner_service, keyed.idempotency_key, keyed.place\n",
        "            select keyed.owner_service, keyed.idempotency_key, fresh[keyed.place], keyed.fingerprint\n"
        "            from keyed\n"
        "            order by keyed.place\n",
        "tests/sql/test_races.py::test_two_batches_with_the_same_keys_in_opposite_order_make_each_job_once",
    ),
    Mutant(
        "a key is read and then written",
        "sql/functions/_reserve_jobs.sql",
        "            order by keyed.owner_service, keyed.idempotency_key, keyed.place\n"
        "            on conflict on constraint idempotency_pkey do nothing\n",
        "            where not exists (\n"
        "                select\n"
        "                from aiserv.idempotency as known\n"
        "                where known.owner_service = keyed.owner_service\n"
        "                  and known.idempotency_key = keyed.idempotency_key\n"
        "            )\n"
        "            order by keyed.owner_service, keyed.idempotency_key, keyed.place\n",
        "tests/sql/test_races.py::test_two_batches_with_the_same_keys_in_opposite_order_make_each_job_once",
    ),
    Mutant(
        "batches stay that two transactions emptied at once",
        "sql/functions/_prune_jobs.sql",
        "if cardinality(old) < _prune_jobs.max_jobs then",
        "if false then",
        "tests/sql/test_prune.py::test_a_batch_whose_last_jobs_two_transactions_delete_at_once_goes_after_them",
    ),
    Mutant(
        "a prune keeps the key",
        "sql/functions/_delete_jobs.sql",
        "where known.owner_service = any(array[gone.owner_service])",
        "where false",
        "tests/sql/test_idempotency.py::test_a_key_is_free_again_once_its_job_is_pruned",
    ),
    Mutant(
        "one bad item of a group fails its neighbours",
        "aiserv/grouping.py",
        "if not alone and self._is_of_one(error):",
        "if False:",
        "tests/test_grouping.py::test_a_group_that_one_of_it_spoils_travels_one_by_one",
    ),
    Mutant(
        "a caller that leaves takes others along",
        "aiserv/grouping.py",
        "                self._waiting.popleft()\n                continue",
        "                self._waiting.clear()\n                continue",
        "tests/test_grouping.py::test_a_caller_that_goes_takes_its_item_along_and_nobody_elses",
    ),
    Mutant(
        "a group is sent again whatever went wrong",
        "aiserv/grouping.py",
        "if not alone and self._is_of_one(error):",
        "if not alone:",
        "tests/test_grouping.py::test_an_error_of_unknown_outcome_is_told_to_all_and_nothing_is_sent_again",
    ),
    Mutant(
        "who waits behind a lost group is sent after it",
        "aiserv/grouping.py",
        "behind = [] if alone else list(self._waiting)",
        "behind: list[_Member[Item, Outcome]] = []",
        "tests/test_grouping.py::test_what_waits_behind_a_lost_group_hears_so_at_once",
    ),
    Mutant(
        "a group whose connection was lost is sent again",
        "aiserv/database.py",
        '(state != "" and not is_unavailable(error))',
        'not state.startswith(("22", "23"))',
        "tests/api/test_group_commit.py::test_a_group_whose_fate_is_unknown_is_not_sent_again",
    ),
    Mutant(
        "who waits for a key makes the group wait",
        "sql/functions/create_each.sql",
        "create_each.jobs, patience => create_each.patience,",
        "create_each.jobs,",
        "tests/sql/test_create_each.py"
        "::test_a_key_that_another_transaction_holds_keeps_nobody_waiting_and_sends_nobody_else_away",
    ),
    Mutant(
        "what makes no sense is stored",
        "sql/functions/_store_jobs.sql",
        "case when sent.is_sound then (sent.item).owner_service end",
        "(sent.item).owner_service",
        "tests/sql/test_create_jobs.py::test_one_bad_item_refuses_the_whole_batch_and_is_named",
    ),
    Mutant(
        "a cap counts only what waits already",
        "sql/functions/_check_room.sql",
        "known.pending + known.created > known.limit_of",
        "known.pending > known.limit_of",
        "tests/sql/test_caps.py::test_an_owner_has_room_for_its_cap",
    ),
    Mutant(
        "the cap of an owner is one for all",
        "sql/functions/_check_room.sql",
        "(part.owner_service, most_per_owner)",
        "(null, most_per_owner)",
        "tests/sql/test_caps.py::test_an_owner_has_room_for_its_cap",
    ),
    Mutant(
        "what runs takes room",
        "sql/functions/_check_room.sql",
        "select lease.owner_service, -1, 0 from aiserv.lease as lease",
        "select lease.owner_service, 0, 0 from aiserv.lease as lease",
        "tests/sql/test_caps.py::test_what_runs_or_is_finished_makes_room",
    ),
    Mutant(
        "a repeat needs room",
        "sql/functions/_check_room.sql",
        "where sent.is_sound and (_check_room.new_ids is null or _check_room.new_ids[sent.place] is not null)",
        "where sent.is_sound",
        "tests/sql/test_caps.py::test_a_repeat_needs_no_room",
    ),
    Mutant(
        "the caps never reach PostgreSQL",
        "aiserv/database.py",
        "if most is not None}",
        "if most is None}",
        "tests/api/test_caps.py::test_a_full_queue_is_429_and_says_when_to_come_again",
    ),
    Mutant(
        "the key of a batch fits any other batch",
        "sql/functions/_reserve_batch.sql",
        "if known.fingerprint <> fingerprint then",
        "if false then",
        "tests/sql/test_idempotency.py::test_another_batch_with_the_key_is_refused_and_stores_nothing",
    ),
    Mutant(
        "the owners are no part of a batch",
        "sql/functions/_reserve_batch.sql",
        "(sent.item).owner_service, (sent.item).idempotency_key, aiserv._fingerprint(",
        "(sent.item).idempotency_key, aiserv._fingerprint(",
        "tests/sql/test_idempotency.py::test_another_batch_with_the_key_is_refused_and_stores_nothing",
    ),
    Mutant(
        "the key of a batch is everybody's",
        "sql/functions/_reserve_batch.sql",
        "(array_agg((sent.item).owner_service order by sent.place))[1],",
        "'',",
        "tests/sql/test_idempotency.py::test_the_key_of_a_batch_belongs_to_the_owner_of_its_first_job",
    ),
    Mutant(
        "a repeated batch is stored again",
        "sql/functions/create_batch.sql",
        "if members <> '{}' then",
        "if false then",
        "tests/sql/test_idempotency.py::test_a_repeated_batch_returns_the_jobs_of_the_first_time_as_they_are_now",
    ),
    Mutant(
        "a key fits any body",
        "sql/functions/_refuse_mismatch.sql",
        "known.fingerprint <> aiserv._fingerprint(sent.item)",
        "false",
        "tests/sql/test_idempotency.py::test_another_body_is_refused_and_stores_nothing",
    ),
    Mutant(
        "a key of one owner is everybody's",
        "sql/functions/_reserve_jobs.sql",
        "known.owner_service = any(array[(sent.item).owner_service])\n                and ",
        "",
        "tests/sql/test_idempotency.py::test_owners_do_not_share_keys",
    ),
    Mutant(
        "one that must travel alone holds up the next group",
        "aiserv/grouping.py",
        "tasks.start_soon(self._send_alone, member)",
        "await self._send_alone(member)",
        "tests/test_grouping.py::test_one_that_must_travel_alone_holds_up_nobody_and_groupings_share_the_places",
    ),
    Mutant(
        "what must travel alone takes all connections",
        "aiserv/api/app.py",
        "max(1, self.database.size // 3)",
        "self.database.size",
        "tests/api/test_settlements.py::test_creates_and_settlements_that_wait_alone_leave_most_connections_to_others",
    ),
    Mutant(
        "creates and settlements that must travel alone have a third each",
        "aiserv/api/app.py",
        "Settlements(self.database, places_alone)",
        "Settlements(self.database, anyio.CapacityLimiter(places_alone.total_tokens))",
        "tests/api/test_settlements.py::test_creates_and_settlements_that_wait_alone_leave_most_connections_to_others",
    ),
    Mutant(
        "a group has no end",
        "aiserv/grouping.py",
        "while self._waiting and len(group) < MAX_ITEMS:",
        "while self._waiting:",
        "tests/test_grouping.py::test_a_group_is_bounded_in_number_and_in_characters",
    ),
    Mutant(
        "short batches are read side by side",
        "aiserv/api/batch_body.py",
        "limiter=request.app[BATCH_READING] if is_short else None",
        "limiter=None",
        "tests/api/test_batch_reading.py::test_short_batches_are_read_one_at_a_time",
    ),
    Mutant(
        "short batches wait for a long one",
        "aiserv/api/batch_body.py",
        "len(body) <= READ_IN_TURN_BYTES and ",
        "",
        "tests/api/test_batch_reading.py::test_nobody_waits_for_a_batch_that_takes_long",
    ),
    Mutant(
        "short batches wait for one of many short jobs",
        "aiserv/api/batch_body.py",
        ' and body.count(b"{") <= READ_IN_TURN_OBJECTS',
        "",
        "tests/api/test_batch_reading.py::test_nobody_waits_for_a_batch_that_takes_long",
    ),
    Mutant(
        "jobs wait without the size of their inputs",
        "sql/functions/_store_jobs.sql",
        "made.owner_service, made.run_at, made.id, made.input_bytes",
        "made.owner_service, made.run_at, made.id, 0",
        "tests/sql/test_payloads.py::test_a_job_waits_with_the_size_of_its_input",
    ),
]
