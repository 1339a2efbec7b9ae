"""How jobs come into being: keys, batches, groups of single creates, room."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "keys are reserved in the order of the batch",
        "sql/functions/_reserve_keys.sql",
        "        select distinct on (item.owner_service, item.idempotency_key)\n"
        "            item.owner_service,\n"
        "            item.idempotency_key,\n"
        "            _reserve_keys.job_ids[item.ordinality],\n"
        "            aiserv._fingerprint(_reserve_keys.items[item.ordinality])\n"
        "        from unnest(_reserve_keys.items) with ordinality as item\n"
        "        where item.idempotency_key is not null\n"
        "        order by item.owner_service, item.idempotency_key, item.ordinality\n",
        "        select\n"
        "            item.owner_service,\n"
        "            item.idempotency_key,\n"
        "            _reserve_keys.job_ids[item.ordinality],\n"
        "            aiserv._fingerprint(_reserve_keys.items[item.ordinality])\n"
        "        from unnest(_reserve_keys.items) with ordinality as item\n"
        "        where item.idempotency_key is not null\n"
        "        order by item.ordinality\n",
        "tests/sql/test_races.py -k opposite_order",
    ),
    Mutant(
        "a key is read and then written",
        "sql/functions/_reserve_keys.sql",
        "        order by item.owner_service, item.idempotency_key, item.ordinality\n"
        "        on conflict on constraint idempotency_pkey do nothing;\n",
        "          and not exists (\n"
        "            select\n"
        "            from aiserv.idempotency as known\n"
        "            where known.owner_service = item.owner_service and known.idempotency_key = item.idempotency_key\n"
        "        )\n"
        "        order by item.owner_service, item.idempotency_key, item.ordinality;\n",
        "tests/sql/test_races.py -k opposite_order",
    ),
    Mutant(
        "a prune keeps the key",
        "sql/functions/_delete_jobs.sql",
        "where known.owner_service = gone.owner_service and known.idempotency_key = gone.idempotency_key",
        "where false",
        "tests/sql/test_idempotency.py -k free_again",
    ),
    Mutant(
        "one bad item of a group fails its neighbours",
        "aiserv/grouping.py",
        "if not alone and self._is_of_one(error):",
        "if False:",
        "tests/test_grouping.py -k spoils",
    ),
    Mutant(
        "a caller that leaves takes others along",
        "aiserv/grouping.py",
        "                self._waiting.popleft()\n                continue",
        "                self._waiting.clear()\n                continue",
        "tests/test_grouping.py -k takes_its_item_along",
    ),
    Mutant(
        "a group is sent again whatever went wrong",
        "aiserv/grouping.py",
        "if not alone and self._is_of_one(error):",
        "if not alone:",
        "tests/test_grouping.py -k unknown_outcome",
    ),
    Mutant(
        "who waits behind a lost group is sent after it",
        "aiserv/grouping.py",
        "behind = [] if alone else list(self._waiting)",
        "behind: list[_Member[Item, Outcome]] = []",
        "tests/test_grouping.py -k behind",
    ),
    Mutant(
        "a group whose connection was lost is sent again",
        "aiserv/database.py",
        '(state != "" and not is_unavailable(error))',
        'not state.startswith(("22", "23"))',
        "tests/api/test_group_commit.py -k fate",
    ),
    Mutant(
        "who waits for a key makes the group wait",
        "sql/functions/_reserve_each.sql",
        "aiserv._reserve_keys_within(items, fresh, patience)",
        "aiserv._reserve_keys(items, fresh)",
        "tests/sql/test_create_each.py -k keeps_nobody_waiting",
    ),
    Mutant(
        "a refused create of many keeps its key",
        "sql/functions/_check_room_each.sql",
        "where item.code = 'JQ429' and known.job_id = item.id;",
        "where false;",
        "tests/sql/test_create_each.py -k full_queue",
    ),
    Mutant(
        "a cap counts only what waits already",
        "sql/functions/_check_room.sql",
        "known.pending + known.created > known.limit_of",
        "known.pending > known.limit_of",
        "tests/sql/test_caps.py -k cap",
    ),
    Mutant(
        "what runs takes room",
        "sql/functions/_check_room.sql",
        "select lease.owner_service, -1, 0 from aiserv.lease as lease",
        "select lease.owner_service, 0, 0 from aiserv.lease as lease",
        "tests/sql/test_caps.py -k makes_room",
    ),
    Mutant(
        "a repeat needs room",
        "sql/functions/_create_jobs.sql",
        "            where job_ids[item.ordinality] = fresh[item.ordinality]\n",
        "",
        "tests/sql/test_caps.py -k repeat",
    ),
    Mutant(
        "the caps never reach PostgreSQL",
        "aiserv/database.py",
        "if most is not None}",
        "if most is None}",
        "tests/api/test_caps.py",
    ),
    Mutant(
        "the key of a batch fits any other batch",
        "sql/functions/_reserve_batch.sql",
        "if known.fingerprint <> fingerprint then",
        "if false then",
        "tests/sql/test_idempotency.py -k another_batch",
    ),
    Mutant(
        "the owners are no part of a batch",
        "sql/functions/_reserve_batch.sql",
        "item.owner_service, item.idempotency_key, aiserv._fingerprint(",
        "item.idempotency_key, aiserv._fingerprint(",
        "tests/sql/test_idempotency.py -k another_batch",
    ),
    Mutant(
        "the key of a batch is everybody's",
        "sql/functions/_reserve_batch.sql",
        "then _reserve_batch.items[1].owner_service end;",
        "then '' end;",
        "tests/sql/test_idempotency.py -k owner_of_its_first",
    ),
    Mutant(
        "a repeated batch is stored again",
        "sql/functions/create_batch.sql",
        "if batch.job_ids = '{}' then",
        "if true then",
        "tests/sql/test_idempotency.py -k repeated_batch",
    ),
]
