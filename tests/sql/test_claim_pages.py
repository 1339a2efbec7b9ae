"""A claim touches few pages and rows, whatever else waits."""

from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.conftest import database, url_of
from tests.sql.calls import Connect, Db, call, claim, create_many
from tests.sql.reads import keep_statistics, pages, rows_scanned

CLAIM = "select count(*) from aiserv.claim_jobs(worker_id => 'worker-1', max_jobs => 10"
ONE_PAIR = CLAIM + ", task_types => array['chat'], model_profiles => array['qwen'])"
KINDS = "array(select 'kind-' || n from generate_series(1, 20) as n)"
MANY_PAIRS = CLAIM + f", task_types => {KINDS}, model_profiles => array['qwen', 'other'])"
ANY_PAIR = CLAIM + ")"
# Of twenty kinds and three profiles, and that of `chat`.
PAIRS = 61
# Of every index of ours, how many entries this transaction has read.
ENTRIES = """
select relation.relname as name, pg_stat_get_xact_tuples_returned(relation.oid) as entries
from pg_class as relation
where relation.relnamespace = 'aiserv'::regnamespace and relation.relkind = 'i'
"""


def entries_read(db: Db, query: str) -> Counter[str]:
    """How many entries of each index of ours the query reads."""

    def entries() -> Counter[str]:
        return Counter({row["name"]: row["entries"] for row in db.execute(ENTRIES).fetchall()})

    with db.transaction():
        before = entries()
        db.execute(query.encode())
        return entries() - before


@pytest.fixture(scope="module")
def template(postgres: str, template: str) -> Iterator[str]:
    """The name of a database where 30,000 others lie before the jobs of `chat`: of other kinds, of forty queues,
    scheduled; and of 100 owners.
    """
    with database(postgres, template=template) as name:
        with psycopg.connect(url_of(postgres, name), autocommit=True, row_factory=dict_row) as db:
            keep_statistics(db)
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
            create_many(db, [{}] * 1000 + [{"delay": 3600}] * 1000)
            db.execute("vacuum analyze aiserv.ready")
        yield name


@pytest.mark.parametrize(("query", "bound"), [(ONE_PAIR, 500), (MANY_PAIRS, 8_000), (ANY_PAIR, 8_000)])
def test_a_claim_touches_few_pages_whatever_else_waits(db: Db, query: str, bound: int) -> None:
    # The first claim of a session also reads the catalogue.
    assert min(pages(db, query) for _ in range(3)) < bound


@pytest.mark.parametrize(("query", "bound"), [(ONE_PAIR, 50), (MANY_PAIRS, 300), (ANY_PAIR, 600)])
def test_a_claim_reads_few_rows_by_the_keys_of_the_lines_and_none_otherwise(db: Db, query: str, bound: int) -> None:
    read = Counter[str]()
    scanned = rows_scanned(db, lambda: read.update(entries_read(db, query)))

    assert scanned == {}
    assert 10 <= read["ready_pkey"] < bound
    # Two looks for each pair, at whether there is one and at what is due next, and the rows of the jobs themselves.
    assert read["scheduled_pkey"] <= 2 * PAIRS
    assert read["job_pkey"] + read["lease_pkey"] <= 50
    assert read.keys() <= {"ready_pkey", "scheduled_pkey", "job_pkey", "lease_pkey"}


def test_a_claim_of_one_looks_only_at_jobs_of_the_owners_whose_turn_may_come(db: Db) -> None:
    owners = 300
    create_many(db, [{"task_type": "crowded", "owner_service": f"owner-{number}"} for number in range(owners)])

    read = entries_read(db, ONE_PAIR.replace("chat", "crowded").replace("10", "1"))

    # One entry tells of each owner that it waits; jobs are looked at for few of them.
    assert owners <= read["ready_pkey"] < owners + 50


def test_jobs_long_claimed_cost_no_claim_anything_though_a_transaction_keeps_their_rows(
    db: Db, connect: Connect
) -> None:
    create_many(db, [{}] * 8_000)
    elsewhere = connect(options="-c default_transaction_isolation=repeatable\\ read")
    elsewhere.execute("begin")
    elsewhere.execute("select count(*) from aiserv.jobs")

    for _ in range(7):
        db.execute(ONE_PAIR.replace("10", "1000").encode())
    read = [entries_read(db, ONE_PAIR)["ready_pkey"] for _ in range(5)]

    # A look within five seconds begins where the one before it ended; without, each would walk over 7,000 rows.
    assert min(read[1:]) < 100, read
    elsewhere.execute("rollback")


def test_a_higher_level_that_is_empty_now_is_walked_over_once_a_claim(db: Db, connect: Connect) -> None:
    create_many(db, [{"priority": 50}] * 4_000)
    elsewhere = connect(options="-c default_transaction_isolation=repeatable\\ read")
    elsewhere.execute("begin")
    elsewhere.execute("select count(*) from aiserv.jobs")

    for _ in range(4):
        db.execute(ONE_PAIR.replace("10", "1000").encode())
    read = [entries_read(db, ONE_PAIR)["ready_pkey"] for _ in range(3)]

    # The price of exact priorities: the level may have got a job since.
    assert max(read) < 2 * 4_000, read
    elsewhere.execute("rollback")


def test_a_job_given_back_is_found_before_the_cursor(db: Db) -> None:
    (job,) = claim(db, 1, task_types=["chat"], model_profiles=["qwen"])
    db.execute("select aiserv._move_cursor(null, array(select job_id from aiserv.ready where task_type = 'chat'))")
    call(db, "release_job", job_id=job["id"])

    # A claim that comes back short has looked everywhere.
    assert len(claim(db, 1000, task_types=["chat"], model_profiles=["qwen"])) == 1000


def test_the_jobs_of_one_owner_are_found_without_a_look_at_the_other_owners(db: Db) -> None:
    create_many(db, [{"owner_service": f"owner-{number}", "priority": number % 2} for number in range(2_000)])
    create_many(db, [{"owner_service": "few"}] * 10)

    cost = pages(db, ONE_PAIR.removesuffix(")") + ", owner_service => 'few')")

    assert cost < 2_000
