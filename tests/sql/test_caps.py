"""Caps on waiting jobs: what is new needs room, what is there already does not."""

import psycopg
import pytest

from tests.sql.calls import Connect, Db, call, claim, create, create_many


@pytest.fixture
def capped(connect: Connect) -> Db:
    """At most five jobs may wait, three of one owner."""
    return connect(options="-c aiserv.max_pending=5 -c aiserv.max_pending_per_owner=3")


def refusal(db: Db, count: int = 1, **fields: object) -> str:
    with pytest.raises(psycopg.DatabaseError) as refused:
        create_many(db, [dict(fields)] * count)
    assert refused.value.sqlstate == "JQ429"
    return refused.value.diag.message_primary or ""


def test_an_owner_has_room_for_its_cap(capped: Db) -> None:
    create_many(capped, [{}] * 2)
    create(capped, delay="1 hour")

    assert refusal(capped) == "3 jobs of telephony wait, and no more than 3 may"
    create(capped, owner_service="b")


def test_all_owners_together_have_room_for_the_cap(capped: Db) -> None:
    for owner in "aabbc":
        create(capped, owner_service=owner)

    assert refusal(capped, owner_service="c") == "5 jobs wait, and no more than 5 may"


def test_a_batch_that_does_not_fit_stores_nothing(capped: Db) -> None:
    assert refusal(capped, 4).startswith("0 jobs of telephony wait")
    with pytest.raises(psycopg.DatabaseError, match="0 jobs wait, and no more than 5 may"):
        create_many(capped, [{"owner_service": owner} for owner in "aabbcc"])

    assert call(capped, "list_jobs") == []
    assert len(create_many(capped, [{}] * 3)) == 3


def test_what_runs_or_is_finished_makes_room(capped: Db) -> None:
    create_many(capped, [{}] * 3)

    (job,) = claim(capped)
    create(capped)
    call(capped, "release_job", job_id=job["id"])
    refusal(capped)
    call(capped, "cancel_jobs", match_all=True)

    assert len(create_many(capped, [{}] * 3)) == 3


def test_a_repeat_needs_no_room(capped: Db) -> None:
    first = create(capped, idempotency_key="k")
    batch = create_many(capped, [{}], idempotency_key="whole")
    create(capped)
    refusal(capped)

    assert create(capped, idempotency_key="k")["id"] == first["id"]
    assert [row["id"] for row in create_many(capped, [{"idempotency_key": "k"}] * 3)] == [first["id"]] * 3
    again = create_many(capped, [{}], idempotency_key="whole")
    assert [row["id"] for row in again] == [row["id"] for row in batch]


def test_without_a_cap_there_is_always_room(db: Db) -> None:
    assert len(create_many(db, [{}] * 100)) == 100


def test_what_is_not_folded_never_becomes_much(connect: Connect) -> None:
    capped = connect(options="-c aiserv.max_pending=100000")
    capped.execute(
        "insert into aiserv.delta (minute, owner_service, task_type, model_profile)"
        " select now(), 'a', 'b', 'c' from generate_series(1, 2001)"
    )

    create(capped)

    # The one of the create itself.
    assert len(capped.execute("select from aiserv.delta").fetchall()) == 1
    (pending,) = capped.execute("select aiserv.stats() #>> '{queue,pending}' as number").fetchall()
    assert pending["number"] == "1"
