"""One key, one job: the same body finds it, another one is refused."""

import json
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.sql.calls import (
    Connect,
    Db,
    call,
    create,
    create_many,
    get,
    in_background,
    in_state,
    one,
    refusal,
    wait_until_blocked,
)

KEY = {"idempotency_key": "order-1"}


def test_a_repeat_with_the_same_key_returns_the_job_as_it_is_now(db: Db) -> None:
    job = create(db, **KEY, input='{"a": 1}')
    call(db, "cancel_job", job_id=job["id"])

    again = create(db, **KEY, input='{"a": 1}')

    assert (again["id"], again["status"]) == (job["id"], "cancelled")
    assert again == get(db, job["id"])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"owner_ref": "", "priority": 0, "max_attempts": 3, "input": "{}", "metadata": "{}"}),
        ({"input": '{"a": 1, "b": [1.0, "\\u00e9"]}'}, {"input": '{"b":[1,"é"],"a":1.0}'}),
        ({"delay": "1 hour"}, {"delay": "60 minutes"}),
        ({"run_at": "2030-01-01T00:00:00Z"}, {"run_at": "2030-01-01T03:00:00+03"}),
        ({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}, {"traceparent": f"00-{'c' * 32}-{'d' * 16}-01"}),
        ({"input": '{"a": 1e400}'}, {"input": '{"a": 1e400}'}),
        ({"input": '{"a": 1e999999}'}, {"input": '{"a": 1e999999}'}),
    ],
)
def test_equal_bodies_are_the_same(db: Db, first: dict[str, Any], second: dict[str, Any]) -> None:
    job = create(db, **KEY, **first)

    again = create(db, **KEY, **second)

    assert again == job


@pytest.mark.parametrize(
    "other",
    [
        {"task_type": "other"},
        {"model_profile": "other"},
        {"owner_ref": "other"},
        {"input": '{"a": 2}'},
        {"input": '{"a": "1"}'},
        {"metadata": '{"a": 1}'},
        {"priority": 1},
        {"max_attempts": 4},
        {"timeout_seconds": 1.5},
        {"delay": "0"},
        {"run_at": "2030-01-01T00:00:00Z"},
    ],
)
def test_another_body_is_refused_and_stores_nothing(db: Db, other: dict[str, Any]) -> None:
    job = create(db, **KEY, input='{"a": 1}')
    body = {"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen", "input": '{"a": 1}', **KEY}

    refused = refusal(db, "create_job", **(body | other))

    assert refused.sqlstate == "JK422"
    assert str(job["id"]) in (refused.diag.message_detail or "")
    assert call(db, "list_jobs") == [job]


def test_what_makes_no_sense_is_refused_as_such_though_its_key_is_known(db: Db) -> None:
    create(db, **KEY)

    refused = refusal(db, "create_job", owner_service="telephony", task_type=None, model_profile="qwen", **KEY)

    assert (refused.sqlstate, refused.diag.message_primary) == ("JV400", "task_type: must have 1 to 200 characters")


def test_a_delay_is_compared_as_sent_and_not_the_time_made_of_it(db: Db) -> None:
    job = create(db, **KEY, delay="1 second")

    again = create(db, **KEY, delay="1 second")

    assert again["run_at"] == job["run_at"]


def test_owners_do_not_share_keys(db: Db) -> None:
    mine = create(db, **KEY)

    theirs = create(db, **KEY, owner_service="billing")
    others = create(db, **KEY, owner_service="legal", input='{"another": "body"}')
    again = create_many(db, [KEY, KEY | {"owner_service": "billing"}])

    assert len({mine["id"], theirs["id"], others["id"]}) == 3
    assert [job["id"] for job in again] == [mine["id"], theirs["id"]]


def test_twenty_creates_at_once_with_one_key_make_one_job(db: Db, connect: Connect) -> None:
    connections = [connect() for _ in range(20)]

    futures = [in_background(partial(create, connection, **KEY)) for connection in connections]
    ids = {future.result()["id"] for future in futures}

    assert len(ids) == 1
    assert [job["id"] for job in call(db, "list_jobs")] == list(ids)


def test_a_batch_finds_the_jobs_that_its_keys_made_and_keeps_the_order(db: Db) -> None:
    known = create(db, idempotency_key="b")

    jobs = create_many(db, [{"idempotency_key": "a"}, {"idempotency_key": "b"}, {}], batch_id=(batch := uuid4()))

    assert [job["idempotency_key"] for job in jobs] == ["a", "b", None]
    assert jobs[1] == known
    assert [job["batch_id"] for job in jobs] == [batch, None, batch]
    counts = one(db, "get_batch", batch_id=batch)["get_batch"]["counts"]
    assert counts["total"] == 3


def test_the_same_key_twice_in_a_batch_is_one_job_if_the_bodies_are_the_same(db: Db) -> None:
    first, second = create_many(db, [KEY, KEY])

    assert first == second
    refused = refusal(
        db,
        "create_jobs",
        jobs=json.dumps(
            [
                {
                    "owner_service": "telephony",
                    "task_type": "chat",
                    "model_profile": "qwen",
                    "idempotency_key": "new",
                    "priority": n,
                }
                for n in (1, 2)
            ]
        ),
    )
    assert refused.sqlstate == "JV400"
    assert (refused.diag.message_primary or "").startswith("jobs[1].idempotency_key:")


def test_one_mismatch_refuses_the_whole_batch(db: Db) -> None:
    create(db, **KEY)
    body = {"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"}

    refused = refusal(db, "create_jobs", jobs=json.dumps([body, {**body, **KEY, "priority": 9}]))

    assert refused.sqlstate == "JK422"
    assert len(call(db, "list_jobs")) == 1


def test_a_key_is_free_again_once_its_job_is_pruned(db: Db) -> None:
    job_id = in_state(db, "completed")
    job = create(db, **KEY)
    call(db, "cancel_job", job_id=job["id"])

    db.execute("select aiserv.prune_jobs(retention => '1 microsecond')")

    assert call(db, "list_jobs", id=[job_id, job["id"]]) == []
    assert create(db, **KEY, priority=7)["id"] != job["id"]


def test_a_key_that_is_pruned_while_its_batch_waits_for_another_one_makes_a_new_job(db: Db, connect: Connect) -> None:
    keyed = [{"idempotency_key": "later"}, {"idempotency_key": "before"}]
    old = create(db, **keyed[1])
    call(db, "cancel_job", job_id=old["id"])
    holder, waiter = connect(), connect()
    holder.execute("begin")
    # Keys are taken in their order: the batch has seen the key of the old job when it comes to this one.
    held = create(holder, idempotency_key="later")

    waiting = in_background(partial(create_many, waiter, keyed))
    wait_until_blocked(db, waiter)
    db.execute("select aiserv.prune_jobs(retention => '1 microsecond')")
    holder.commit()

    jobs = waiting.result()
    assert jobs[0]["id"] == held["id"]
    assert jobs[1]["id"] != old["id"]
    assert [job["id"] for job in create_many(db, keyed)] == [job["id"] for job in jobs]


WHOLE: dict[str, Any] = {"idempotency_key": "batch-1"}


def test_a_repeated_batch_returns_the_jobs_of_the_first_time_as_they_are_now(db: Db) -> None:
    known = create(db, **KEY)
    batch = uuid4()
    jobs = create_many(db, [{}, KEY, {"priority": 5}], **WHOLE, batch_id=batch)
    call(db, "cancel_job", job_id=jobs[2]["id"])

    again = create_many(db, [{}, KEY, {"priority": 5}], **WHOLE, batch_id=uuid4())

    assert [job["id"] for job in again] == [job["id"] for job in jobs]
    assert [job["status"] for job in again] == ["pending", "pending", "cancelled"]
    assert jobs[1] == known
    assert one(db, "batch_with_key", owner_service="telephony", **WHOLE)["batch_with_key"] == batch
    assert len(call(db, "list_jobs")) == 3


@pytest.mark.parametrize(
    "other",
    [
        [{"input": {"a": 1}}],
        [{"input": {"a": 1}}, {"input": {}}, {}],
        [{"input": {}}, {"input": {"a": 1}}],
        [{"input": {"a": 1}}, {"input": {}, "idempotency_key": "k"}],
        [{"input": {"a": 1}}, {"input": {}, "owner_service": "billing"}],
        [{"input": {"a": 1}}, {"input": {}, "priority": 1}],
    ],
)
def test_another_batch_with_the_key_is_refused_and_stores_nothing(db: Db, other: list[dict[str, Any]]) -> None:
    create_many(db, [{"input": {"a": 1}}, {"input": {}}], **WHOLE, batch_id=(batch := uuid4()))

    with pytest.raises(psycopg.Error) as refused:
        create_many(db, other, **WHOLE)

    assert refused.value.sqlstate == "JK422"
    assert str(batch) in (refused.value.diag.message_detail or "")
    assert len(call(db, "list_jobs")) == 2


def test_batches_are_compared_as_json_and_without_their_traces(db: Db) -> None:
    jobs = create_many(db, [{"input": {"a": 1, "b": [1.0]}}], **WHOLE)

    again = create_many(
        db, [{"priority": 0, "input": {"b": [1], "a": 1.0}, "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}], **WHOLE
    )

    assert again == jobs


def test_the_key_of_a_batch_belongs_to_the_owner_of_its_first_job(db: Db) -> None:
    mine = create_many(db, [{}, {"owner_service": "billing"}], **WHOLE)

    theirs = create_many(db, [{"owner_service": "billing"}, {}], **WHOLE)

    assert not {job["id"] for job in mine} & {job["id"] for job in theirs}


def test_the_key_of_a_batch_is_no_key_of_a_job(db: Db) -> None:
    (batched,) = create_many(db, [{}], **KEY)

    alone = create(db, **KEY)

    assert alone["id"] != batched["id"]


def test_twenty_batches_at_once_with_one_key_store_their_jobs_once(db: Db, connect: Connect) -> None:
    jobs = [{"idempotency_key": f"item-{number}"} for number in range(5)] + [{}] * 5
    connections = [connect() for _ in range(20)]

    futures = [in_background(partial(create_many, connection, jobs, **WHOLE)) for connection in connections]
    answers = {tuple(job["id"] for job in future.result()) for future in futures}

    assert len(answers) == 1
    assert len(call(db, "list_jobs")) == 10


def test_a_repeat_waits_for_the_first_and_takes_its_place_if_that_fails(db: Db, connect: Connect) -> None:
    first, second = connect(), connect()
    first.execute("begin")
    create_many(first, [{}], **WHOLE)

    waiting = in_background(partial(create_many, second, [{}], **WHOLE))
    wait_until_blocked(db, second)
    first.rollback()

    (job,) = waiting.result()
    assert [job] == call(db, "list_jobs")


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_of_a_batch_has_1_to_200_characters(db: Db, key: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        create_many(db, [{}], idempotency_key=key)

    assert refused.value.sqlstate == "JV400"
    assert (refused.value.diag.message_primary or "").startswith("idempotency_key:")


def test_the_key_of_a_batch_is_free_again_once_the_batch_is_pruned(db: Db) -> None:
    (job,) = create_many(db, [{}], **WHOLE)
    call(db, "cancel_job", job_id=job["id"])

    db.execute("select aiserv.prune_jobs(retention => '1 microsecond')")

    (other,) = create_many(db, [{"priority": 7}], **WHOLE)
    assert other["id"] != job["id"]
