"""The hot path looks into indexes only, also when the statistics know nothing of what is there."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.sql.calls import Connect, Db, call, claim, create, create_many

TABLES = "job", "ready", "scheduled", "lease", "attempt", "unsuccessful"


@pytest.fixture
def busy(db: Db) -> Db:
    """Thousands of jobs of every kind, none of them in the statistics."""
    for table in TABLES:
        db.execute(f"alter table aiserv.{table} set (autovacuum_enabled = off)".encode())
    create_many(db, [{"task_type": "done"}] * 2000)
    for job in claim(db, 1000):
        call(db, "complete_job", job_id=job["id"], result="1")
    call(db, "cancel_jobs", max_jobs=500, match_all=True)
    create_many(db, [{"task_type": "other"}] * 2000 + [{"delay": 3600}] * 2000)
    create_many(db, [{"priority": 1}] * 100)
    return db


def rows_read(db: Db) -> Counter[str]:
    """How many rows sequential scans of each table have read, as this connection has not reported yet."""
    rows = db.execute(
        "select relname, seq_tup_read from pg_stat_xact_user_tables where schemaname = 'aiserv' and relname = any(%s)",
        [list(TABLES)],
    ).fetchall()
    return Counter({row["relname"]: row["seq_tup_read"] for row in rows})


def rows_scanned(db: Db, act: Callable[[], Any]) -> Counter[str]:
    """How many rows of each table were read by sequential scans while it acted."""
    with db.transaction():
        before = rows_read(db)
        act()
        return rows_read(db) - before


def test_no_transition_reads_a_table_from_end_to_end(busy: Db) -> None:
    jobs = claim(busy, 20, task_types=["chat"], model_profiles=["qwen"])
    ids = [job["id"] for job in jobs]
    settled = [{"id": str(job["id"]), "attempt": 1, "result": 1} for job in jobs[:5]]
    failure = {"category": "timeout", "message": ""}

    acts: dict[str, Callable[[], Any]] = {
        "create": lambda: create(busy, idempotency_key="k"),
        "claim": lambda: claim(busy, 10),
        "claim of kinds": lambda: claim(busy, 10, task_types=["chat"], model_profiles=["qwen"]),
        "settle": lambda: call(busy, "settle_jobs", settlements=json.dumps(settled)),
        "complete": lambda: call(busy, "complete_job", job_id=ids[5], attempt=1, result="1"),
        "repeat": lambda: call(busy, "complete_job", job_id=ids[5], attempt=1, result="1"),
        "fail": lambda: call(busy, "fail_job", job_id=ids[6], attempt=1, **failure),
        "fail for now": lambda: call(busy, "fail_job", job_id=ids[7], attempt=1, **failure, retryable=True),
        "heartbeat": lambda: call(busy, "heartbeat_job", job_id=ids[8], attempt=1),
        "heartbeats": lambda: call(busy, "heartbeat_jobs", job_ids=ids, attempts=[1] * 20),
        "release": lambda: call(busy, "release_job", job_id=ids[9], attempt=1),
        "retry": lambda: call(busy, "retry_job", job_id=ids[6]),
        "cancel": lambda: call(busy, "cancel_job", job_id=ids[10]),
        "get": lambda: call(busy, "get_job", job_id=ids[11]),
    }

    for name, act in acts.items():
        assert rows_scanned(busy, act) == {}, name


def test_numbers_and_pages_read_no_job_that_they_do_not_show(busy: Db) -> None:
    claim(busy, 10)
    acts: dict[str, Callable[[], Any]] = {
        "stats": lambda: call(busy, "stats"),
        "stats since": lambda: call(busy, "stats", since="2020-01-01Z"),
        "stats of an owner": lambda: call(busy, "stats", owner_service="telephony"),
        "newest": lambda: call(busy, "list_jobs", max_jobs=10),
        "running": lambda: call(busy, "list_jobs", max_jobs=10, status=["running"]),
    }

    for name, act in acts.items():
        # Tables that are small: of the second PostgreSQL knows by its size when an index is quicker.
        assert rows_scanned(busy, act).keys() <= {"lease", "scheduled"}, name


def test_trouble_of_a_provider_makes_no_transition_read_a_table_from_end_to_end(busy: Db) -> None:
    trouble = {"category": "provider_unavailable", "message": ""}
    for provider in ("qwen", "other"):
        call(busy, "report_provider", provider=provider, **trouble)
    busy.execute("update aiserv.provider set paused_until = clock_timestamp() - interval '1 second'")
    held: dict[str, Any] = {}

    acts: dict[str, Callable[[], Any]] = {
        "probe": lambda: held.update(job_id=claim(busy, 10)[0]["id"], attempt=1),
        "no probe": lambda: claim(busy, 10),
        "report": lambda: call(busy, "report_provider", provider="qwen", **trouble, **held),
        "release": lambda: call(busy, "release_job", **held, **trouble, patience="1 hour"),
    }

    for name, act in acts.items():
        assert rows_scanned(busy, act) == {}, name


def test_an_empty_claim_touches_a_handful_of_pages_whatever_else_is_there(busy: Db) -> None:
    busy.execute("set plan_cache_mode = force_generic_plan")
    claim(busy, task_types=["none"], model_profiles=["none"])

    (row,) = busy.execute(
        "explain (analyze, buffers, format json) select * from aiserv.claim_jobs("
        "worker_id => 'worker-1', task_types => array['none'], model_profiles => array['none'])"
    ).fetchall()

    plan = row["QUERY PLAN"][0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200


CLAIM = "select count(*) from aiserv.claim_jobs(worker_id => 'worker-1', max_jobs => 10"
ONE_PAIR = CLAIM + ", task_types => array['chat'], model_profiles => array['qwen'])"
KINDS = "array(select 'kind-' || n from generate_series(1, 20) as n)"
MANY_PAIRS = CLAIM + f", task_types => {KINDS}, model_profiles => array['qwen', 'other'])"
ANY_PAIR = CLAIM + ")"


@pytest.fixture
def crowded(db: Db) -> Db:
    """Before the jobs of `chat` lie 30,000 others: of other kinds, of forty queues, scheduled; and of 100 owners."""
    db.execute(
        """
        select count(*) from aiserv.create_jobs(jobs => (
            select json_agg(json_build_object(
                'owner_service', 'owner-' || n % 100,
                'task_type', 'kind-' || n % 20,
                'model_profile', (array['a', 'other', 'qwen'])[n % 3 + 1],
                'priority', n % 5,
                'delay', case when n % 2 = 0 then 3600 end
            ))
            from generate_series(1, 30000) as n
        ))
        """
    )
    create_many(db, [{}] * 1000)
    db.execute("vacuum analyze aiserv.ready")
    return db


@pytest.mark.parametrize(("query", "bound"), [(ONE_PAIR, 500), (MANY_PAIRS, 8_000), (ANY_PAIR, 8_000)])
def test_a_claim_touches_few_pages_whatever_else_waits(crowded: Db, query: str, bound: int) -> None:
    # The first claim of a session also reads the catalogue.
    with crowded.transaction(force_rollback=True):
        crowded.execute(query.encode())

    assert pages(crowded, query) < bound


def pages(db: Db, query: str) -> int:
    """How many pages the query touches: a measure of work that no other process on the machine changes."""
    (row,) = db.execute(f"explain (analyze, buffers, format json) {query}".encode()).fetchall()
    plan = row["QUERY PLAN"][0]["Plan"]
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


@pytest.mark.parametrize(("query", "bound"), [(ONE_PAIR, 50), (MANY_PAIRS, 3_000), (ANY_PAIR, 3_000)])
def test_a_claim_reads_few_rows_by_the_key_and_none_otherwise(crowded: Db, query: str, bound: int) -> None:
    def claim_ten() -> None:
        read = "select pg_stat_get_xact_tuples_returned('aiserv.ready_pkey'::regclass) as entries"
        (before,) = crowded.execute(read).fetchall()
        crowded.execute(query.encode())
        (after,) = crowded.execute(read).fetchall()
        assert after["entries"] - before["entries"] < bound

    assert rows_scanned(crowded, claim_ten) == {}


def test_jobs_long_claimed_cost_no_claim_anything_though_a_transaction_keeps_their_rows(
    crowded: Db, connect: Connect
) -> None:
    create_many(crowded, [{}] * 8_000)
    elsewhere = connect(options="-c default_transaction_isolation=repeatable\\ read")
    elsewhere.execute("begin")
    elsewhere.execute("select count(*) from aiserv.jobs")

    for _ in range(7):
        crowded.execute(ONE_PAIR.replace("10", "1000").encode())
    costs = [pages(crowded, ONE_PAIR) for _ in range(3)]

    # The second look begins where the first one ended; without, each would walk over 7,000 rows.
    assert max(costs[1:]) < 500, costs
    elsewhere.execute("rollback")


def test_a_higher_level_that_is_empty_now_is_walked_over_once_a_claim(crowded: Db, connect: Connect) -> None:
    create_many(crowded, [{"priority": 50}] * 4_000)
    elsewhere = connect(options="-c default_transaction_isolation=repeatable\\ read")
    elsewhere.execute("begin")
    elsewhere.execute("select count(*) from aiserv.jobs")

    for _ in range(4):
        crowded.execute(ONE_PAIR.replace("10", "1000").encode())
    costs = [pages(crowded, ONE_PAIR) for _ in range(3)]

    # The price of exact priorities: the level may have got a job since.
    assert max(costs) < 2 * 4_000, costs
    elsewhere.execute("rollback")


def test_a_job_given_back_is_found_before_the_cursor(crowded: Db) -> None:
    (job,) = claim(crowded, 1, task_types=["chat"], model_profiles=["qwen"])
    crowded.execute("select aiserv._move_cursor(null, array(select job_id from aiserv.ready where task_type = 'chat'))")
    call(crowded, "release_job", job_id=job["id"])

    # A claim that comes back short has looked everywhere.
    assert len(claim(crowded, 1000, task_types=["chat"], model_profiles=["qwen"])) == 1000


def test_the_jobs_of_one_owner_are_found_without_a_look_at_the_other_owners(db: Db) -> None:
    create_many(db, [{"owner_service": f"owner-{number}", "priority": number % 2} for number in range(2_000)])
    create_many(db, [{}] * 10)

    cost = pages(db, ONE_PAIR.removesuffix(")") + ", owner_service => 'telephony')")

    assert cost < 2_000


@pytest.mark.parametrize("remaining", ["-1 second", "1 hour"])
def test_a_cursor_holds_for_no_longer_than_its_five_seconds(db: Db, remaining: str) -> None:
    jobs = create_many(db, [{}] * 4)
    db.execute("select aiserv._move_cursor(null, array[%s])", [jobs[1]["id"]])
    assert claim(db)[0]["id"] == jobs[2]["id"]

    db.execute(
        """
        select set_config('aiserv.cursor', jsonb_set(
            current_setting('aiserv.cursor')::jsonb, '{until}', to_jsonb(clock_timestamp() + %s::interval)
        )::text, false)
        """,
        [remaining],
    )

    assert claim(db)[0]["id"] == jobs[0]["id"]


@pytest.mark.parametrize("nonsense", ["x", "5", '{"until": "x"}'])
def test_what_is_no_cursor_keeps_nobody_from_claiming(db: Db, nonsense: str) -> None:
    job = create(db)
    db.execute("select set_config('aiserv.cursor', %s, false)", [nonsense])

    assert claim(db)[0]["id"] == job["id"]
