"""Deleting what is finished: by age, and by model profile."""

from uuid import UUID, uuid4

import pytest

from tests.sql.calls import STATES, Connect, Db, call, create_many, in_state, one, refusal


def batches(db: Db) -> set[UUID]:
    return {row["id"] for row in db.execute("select id from aiserv.batch").fetchall()}


def test_a_delete_takes_finished_jobs_of_one_profile_with_all_that_was_theirs(db: Db) -> None:
    for state in STATES:
        in_state(db, state)
    batch = uuid4()
    create_many(db, [{"model_profile": "other", **key} for key in ({"idempotency_key": "k"}, {}, {})], batch_id=batch)
    delete = "select aiserv.delete_jobs(model_profile => %s, max_jobs => %s) as deleted"
    assert db.execute(delete, ["other", 1000]).fetchall() == [{"deleted": 0}]
    call(db, "cancel_jobs", model_profile=["other"])
    before = len(call(db, "list_jobs"))

    assert [db.execute(delete, ["other", 2]).fetchall()[0]["deleted"] for _ in range(3)] == [2, 1, 0]

    assert len(call(db, "list_jobs")) == before - 3
    assert call(db, "list_jobs", model_profile=["other"]) == []
    for table in ("batch", "idempotency"):
        assert db.execute(f"select * from aiserv.{table}".encode()).fetchall() == []
    assert one(db, "stats", model_profile="other")["stats"]["queue"]["total"] == 0
    assert refusal(db, "delete_jobs", model_profile="other", max_jobs=-1).sqlstate == "JV400"


def test_a_prune_takes_old_finished_jobs_with_all_that_was_theirs_and_leaves_the_rest(db: Db) -> None:
    for state in STATES:
        in_state(db, state)
    batch = uuid4()
    create_many(db, [{"idempotency_key": "k"}], batch_id=batch)
    call(db, "cancel_jobs", batch_id=[batch])
    prune = "select aiserv.prune_jobs(retention => %s, max_jobs => %s) as pruned"

    for retention in ("0", "30 days"):
        assert db.execute(prune, [retention, 1000]).fetchall() == [{"pruned": 0}]
    assert [db.execute(prune, ["1 microsecond", 3]).fetchall()[0]["pruned"] for _ in range(3)] == [3, 1, 0]

    assert {job["status"] for job in call(db, "list_jobs")} == {"pending", "running"}
    for table in ("unsuccessful", "idempotency", "batch"):
        assert db.execute(f"select * from aiserv.{table}".encode()).fetchall() == []
    histories = db.execute("select job_id from aiserv.attempt except select id from aiserv.job").fetchall()
    assert histories == []
    assert refusal(db, "prune_jobs", retention="-1 s").sqlstate == "JV400"


def test_a_batch_goes_with_its_last_job_while_there_are_more_to_prune(db: Db) -> None:
    first, second = uuid4(), uuid4()
    for batch in (first, second):
        create_many(db, [{}, {}], batch_id=batch)
    call(db, "cancel_jobs", match_all=True)

    left = []
    for _ in range(3):
        call(db, "prune_jobs", retention="1 microsecond", max_jobs=1)
        left.append(batches(db))

    assert left == [{first, second}, {second}, {second}]


@pytest.mark.parametrize("delete", ["prune_jobs('1 microsecond', %s)", "delete_jobs('qwen', %s)"])
def test_a_batch_whose_last_jobs_two_transactions_delete_at_once_goes_after_them(
    db: Db, connect: Connect, delete: str
) -> None:
    batch = uuid4()
    create_many(db, [{}, {}], batch_id=batch)
    call(db, "cancel_jobs", match_all=True)
    query = f"select aiserv.{delete} as deleted".encode()

    with connect() as other, other.transaction():
        assert other.execute(query, [1]).fetchall() == [{"deleted": 1}]
        # It finds both, and leaves alone the one that is held.
        assert db.execute(query, [2]).fetchall() == [{"deleted": 1}]
    assert batches(db) == {batch}
    assert db.execute(query, [1]).fetchall() == [{"deleted": 0}]

    assert batches(db) == set()


@pytest.mark.parametrize("delete", ["prune_jobs('1 microsecond')", "delete_jobs('qwen')"])
def test_a_batch_that_lists_only_jobs_of_others_goes_after_them(db: Db, delete: str) -> None:
    for _ in range(2):
        create_many(db, [{"idempotency_key": "k"}], batch_id=uuid4())
    call(db, "cancel_jobs", match_all=True)

    db.execute(f"select aiserv.{delete}".encode())

    assert batches(db) == set()
