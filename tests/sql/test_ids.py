"""Ids are UUIDv7: RFC 9562, in order of creation."""

from datetime import UTC, datetime
from uuid import RFC_4122

from tests.sql.calls import Db, create, create_many


def test_an_id_is_a_uuid_of_version_7_that_holds_the_time(db: Db) -> None:
    moment = datetime(2026, 6, 9, 8, 49, 12, 345_678, tzinfo=UTC)

    (row,) = db.execute("select aiserv.new_id(%s) as id", [moment]).fetchall()

    assert (row["id"].version, row["id"].variant) == (7, RFC_4122)
    assert row["id"].int >> 80 == int(moment.timestamp() * 1000)


def test_ids_sort_by_creation_within_a_batch_and_across_calls(db: Db) -> None:
    first = create(db)
    batch = create_many(db, [{}] * 500)
    db.execute("select 1")

    ids = [first["id"], *(job["id"] for job in batch)]

    assert ids == sorted(ids)
    assert len(set(ids)) == 501
    assert {job_id.version for job_id in ids} == {7}


def test_an_id_is_not_guessed_from_its_time(db: Db) -> None:
    rows = db.execute("select aiserv.new_id('2026-01-01Z') as id from generate_series(1, 1000)").fetchall()

    assert len({row["id"] for row in rows}) == 1000
